// The list that a byte of a code selects from, and what to call each symbol.
// It is package safety's (Go); the order is part of the format.

const list =
  "🐶dog,🐱cat,🦁lion,🐴horse,🦄unicorn,🐷pig,🐮cow,🐘elephant,🐰rabbit,🐼panda,🐓rooster,🐧penguin,🐢turtle,🐟fish," +
  "🐙octopus,🦋butterfly,🐵monkey,🦊fox,🐨koala,🐸frog,🦉owl,🦆duck,🦇bat,🐝bee,🐛caterpillar,🐌snail,🐞ladybug," +
  "🦀crab,🐍snake,🐳whale,🐊crocodile,🐪camel,🦒giraffe,🦓zebra,🐑sheep,🦌deer,🦔hedgehog,🦘kangaroo,🦚peacock," +
  "🦜parrot,🦢swan,🦩flamingo,🐣chick,🦖dinosaur,🐚seashell,🐾paws,🦴bone,🦷tooth,🌵cactus,🌳tree,🌴palm,🌱seedling," +
  "🍀clover,🍁maple leaf,🍄mushroom,🌻sunflower,🌹rose,🌾wheat,🌸blossom,💐bouquet,🌍globe,🌙moon,⭐star,🌈rainbow," +
  "⚡lightning,🔥fire,💧droplet,🌊wave,⛄snowman,🌋volcano,🌞sun,⛅cloud,☔umbrella,🪐planet,🍎apple,🍐pear,🍊orange," +
  "🍋lemon,🍌banana,🍉watermelon,🍇grapes,🍓strawberry,🍒cherries,🍍pineapple,🥥coconut,🥑avocado,🥦broccoli," +
  "🌽corn,🥕carrot,🧅onion,🍞bread,🥐croissant,🥨pretzel,🧀cheese,🥚egg,🍳frying pan,🥓bacon,🍔hamburger,🍟fries," +
  "🍕pizza,🌭hot dog,🌮taco,🥗salad,🍿popcorn,🍣sushi,🍜noodles,🍦ice cream,🍩doughnut,🍪cookie,🎂cake,🍫chocolate," +
  "🍭lollipop,🍯honey,🍼baby bottle,☕coffee,🍷wine,🍺beer,🥄spoon,🍴fork,🧂salt,🥜peanuts,🥞pancakes,🍗drumstick," +
  "🚗car,🚌bus,🚜tractor,🚲bicycle,🚂train,🚁helicopter,🚀rocket,⛵sailboat,🚢ship,⚓anchor,🚦traffic light," +
  "⛽fuel pump,🛸flying saucer,🎡ferris wheel,⛺tent,🏠house,🏰castle,🗽statue,⛪church,⛲fountain,🌉bridge,🚪door," +
  "🛁bathtub,🚽toilet,🛒shopping cart,🪑chair,🔑key,🔒lock,🔔bell,🔨hammer,🔧wrench,🧲magnet,🔦torch,💡light bulb," +
  "🔋battery,🔌plug,💻laptop,📱phone,⌚watch,⏰alarm clock,⌛hourglass,📷camera,📺television,📻radio,🔭telescope," +
  "🔬microscope,💿disc,📎paperclip,📌pin,📏ruler,📖book,📰newspaper,📅calendar,📦parcel,📫mailbox,🎁gift,🎈balloon," +
  "🎀ribbon,🎓graduation cap,🎩top hat,👑crown,👓glasses,👔necktie,👕shirt,👖jeans,👗dress,🧦socks,🧤gloves,🧣scarf," +
  "👟shoe,👢boot,👜handbag,🎒backpack,💍ring,💎diamond,💄lipstick,🧶yarn,🧸teddy bear,🎲dice,🧩puzzle,🎯target," +
  "🎳bowling,⚽football,🏀basketball,🎾tennis ball,🥊boxing glove,🛹skateboard,🎣fishing rod,🏆trophy,🎸guitar," +
  "🎹piano,🎺trumpet,🥁drum,🎤microphone,🎧headphones,🎨palette,🎭masks,🎬clapperboard,🎃pumpkin,👻ghost,👽alien," +
  "🤖robot,💀skull,👀eyes,🏮lantern,🎰slot machine,👄mouth,💣bomb,💊pill,💉syringe,🧪test tube,🧭compass," +
  "🧯fire extinguisher,🧹broom,🧺basket,🧽sponge,🪓axe,🪁kite,🪀yo-yo,🪂parachute,🧊ice cube,💰money bag," +
  "🔮crystal ball,📣megaphone,🔍magnifier,🎵music note,🚩flag,🧱brick,🎫ticket,🩺stethoscope,🎮game controller," +
  "💳credit card,🧮abacus";

/** 256 symbols, each one code point, and their names. */
export const emoji: readonly { symbol: string; name: string }[] = list.split(",").map((entry) => {
  const [symbol = ""] = entry;
  return { symbol, name: entry.slice(symbol.length) };
});
