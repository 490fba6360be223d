package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"sotto/cmd/sotto/internal/config"
	"sotto/signal/protocol"
	"sotto/signal/token"
)

const tokenUsage = `sotto token create --room ROOM --identity NAME [flags]

Prints a join token. ROOM is the id in the room's link, between /r/ and #. The key comes from --api-key and
--api-secret-file, or where else the service has it from.
`

// tokenCommand makes join tokens.
func tokenCommand(_ context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 || args[0] != "create" {
		fmt.Fprint(stderr, tokenUsage)
		return errUsage
	}
	fs := flag.NewFlagSet("sotto token create", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprint(stderr, tokenUsage)
		fs.PrintDefaults()
	}
	room := fs.String("room", "", "`ID` of the room")
	identity := fs.String("identity", "", "`NAME` of the holder, for logs and limits; others do not see it")
	ttl := fs.Duration("ttl", time.Hour, "how long the token is good, at most 24h")
	id := fs.String("id", "", "`ID` of the token (jti)")
	once := fs.Bool("once", false, "let the token admit one connection; needs --id")
	publish := fs.String("publish", "microphone,camera,screen_share,screen_share_audio", "`SOURCES` that the holder may publish; empty = none")
	subscribe := fs.Bool("subscribe", true, "let the holder receive")
	c, rest, err := config.LoadFlags("token", fs, args[1:], os.LookupEnv)
	switch {
	case err != nil:
		return err
	case len(rest) > 0:
		return usageError(stderr, "sotto token create takes no argument %q", rest[0])
	case c.APIKey == "" || len(c.APISecret) == 0:
		return usageError(stderr, "sotto token create: api-key and api-secret are missing")
	case *identity == "":
		return usageError(stderr, "sotto token create: --identity is missing")
	case *once && *id == "":
		return usageError(stderr, "sotto token create: --once needs --id")
	}
	if _, err := protocol.ParseRoomID(*room); err != nil {
		return usageError(stderr, "sotto token create: --room is no room id")
	}
	now := time.Now().Truncate(time.Second)
	claims := token.Claims{
		Issuer: c.APIKey, Identity: *identity, ID: *id, Once: *once,
		NotBefore: now, Expires: now.Add(*ttl), Room: *room, Subscribe: *subscribe,
	}
	for name := range strings.SplitSeq(*publish, ",") {
		source := token.Source(strings.TrimSpace(name))
		switch {
		case source == "":
		case !slices.Contains(token.Sources(), source):
			return usageError(stderr, "sotto token create: there is no source %q", name)
		default:
			claims.Publish = append(claims.Publish, source)
		}
	}
	text, err := token.Mint(c.APISecret, claims)
	if errors.Is(err, token.ErrInvalid) {
		return usageError(stderr, "sotto token create: %v", err)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, text)
	return err
}

// usageError prints what is wrong with a call.
func usageError(stderr io.Writer, format string, args ...any) error {
	fmt.Fprintf(stderr, format+"\n", args...)
	return errUsage
}
