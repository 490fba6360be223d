// A person's name, as others see it. It travels inside the encryption.

/** Bytes of a name in UTF-8. */
export const maxName = 64;

// Control and format characters, line and paragraph separators: what is not seen,
// or turns the text around. The two joiners are needed by some scripts and by emoji.
const unseen = /(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

// What shows nothing: white space, fillers, joiners, selectors of variants, and
// the Braille pattern without dots.
const blank = /^[\s\u2800\p{Default_Ignorable_Code_Point}]*$/u;

/** cleanName makes what a person typed acceptable; "" when nothing is left. */
export function cleanName(typed: string): string {
  let name = typed.replace(/\s/g, " ").replace(unseen, "").normalize("NFC").trim();
  while (bytes(name) > maxName) name = [...name].slice(0, -1).join("").trim();
  return blank.test(name) ? "" : name;
}

/** acceptName gives a received name as it is, if cleaning would change nothing; else null. */
export function acceptName(name: unknown): string | null {
  if (typeof name !== "string" || name === "" || name.length > maxName) return null;
  return cleanName(name) === name ? name : null;
}

function bytes(text: string): number {
  return new TextEncoder().encode(text).length;
}
