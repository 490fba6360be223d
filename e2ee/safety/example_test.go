package safety_test

import (
	"fmt"

	"sotto/e2ee/safety"
)

func Example() {
	code := safety.GroupCode([]byte("epoch authenticator"), []byte("group id"))
	fmt.Println(code.Digits())
	emoji := code.Emoji()
	for _, e := range emoji[:3] {
		fmt.Println(e.Symbol, e.Name)
	}
	// Output:
	// 35627 50273 69661 52935 72421 92258
	// 🎓 graduation cap
	// 🪑 chair
	// 🛸 flying saucer
}
