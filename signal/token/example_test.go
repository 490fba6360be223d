package token_test

import (
	"errors"
	"fmt"
	"time"

	"sotto/signal/token"
)

func Example() {
	now := time.Unix(1_795_388_400, 0)
	keys := map[string][]byte{"APIkey": []byte("a secret of thirty-two bytes, all random")}
	text, err := token.Mint(keys["APIkey"], token.Claims{
		Issuer: "APIkey", Identity: "alice", Room: "6bbvwcsqoa3ytgy7o2cjlm4tmy",
		NotBefore: now, Expires: now.Add(time.Hour), Publish: token.Sources(), Subscribe: true,
	})
	if err != nil {
		return
	}
	c, err := token.Verify(text, now, token.Policy{Keys: keys, Room: "6bbvwcsqoa3ytgy7o2cjlm4tmy"})
	fmt.Println(c.Identity, err)
	_, err = token.Verify(text, now.Add(2*time.Hour), token.Policy{Keys: keys, Room: c.Room})
	fmt.Println(errors.Is(err, token.ErrExpired))
	// Output:
	// alice <nil>
	// true
}
