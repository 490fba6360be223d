package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"sotto/e2ee/group"
	"sotto/e2ee/link"
	"sotto/e2ee/safety"
	"sotto/e2ee/sframe"
	"sotto/signal/client"
	"sotto/signal/protocol"
)

const joinUsage = `sotto join [flags] LINK

Takes part in a room without a browser: no code comes from the service. It sends test sound and a test picture if told
to, opens what the others send, and prints what happens as JSON, one object a line: membership with the safety code,
chat, notices, and every second how many frames of whom it opened. The link is read from standard input if LINK is "-".

Lines on standard input are commands: say TEXT, admit CONN, refuse CONN, kick CONN, lock, unlock, knock on, knock off,
rotate, leave.
`

// joinCommand is a native participant.
func joinCommand(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("sotto join", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprint(stderr, joinUsage)
		fs.PrintDefaults()
	}
	name := fs.String("name", "", "what the others call this participant")
	audio := fs.Bool("audio", false, "send test sound")
	video := fs.Bool("video", false, "send a test picture")
	slots := fs.Int("slots", 9, "how many pictures, and how many voices, to receive")
	height := fs.Int("height", 180, "lines of each picture to ask for; 0 for none")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsage
	}
	if fs.NArg() != 1 {
		return usageError(stderr, "sotto join: one link is needed")
	}
	if !group.AcceptName(*name) && *name != "" {
		return usageError(stderr, "sotto join: that name cannot be shown")
	}
	lines := bufio.NewScanner(stdin)
	text := fs.Arg(0)
	if text == "-" {
		if !lines.Scan() {
			return usageError(stderr, "sotto join: no link on standard input")
		}
		text = lines.Text()
	}
	room, err := link.Parse(strings.TrimSpace(text))
	if err != nil {
		return usageError(stderr, "sotto join: that is not a room's link")
	}
	j := &joiner{out: json.NewEncoder(stdout), height: *height}
	scheme := "wss"
	if strings.HasPrefix(text, "http://") {
		scheme = "ws"
		if !isLoopback(room.Host) {
			fmt.Fprintf(stderr, "sotto join: http: who is on the way sees who takes part and when, and can keep you out; what is said stays encrypted. Use https.\n")
		}
	}
	joining, cancel := context.WithTimeout(ctx, 20*time.Second)
	p, err := client.Join(joining, client.Config{
		URL: scheme + "://" + room.Host + "/ws", Keys: room.Keys, Person: *name, Audio: *audio, Video: *video,
		AudioSlots: *slots, VideoSlots: *slots, Listener: j,
	})
	cancel()
	if err != nil {
		return err
	}
	commands := make(chan string)
	go func() { // ends with the process: a read of standard input cannot be called off
		defer close(commands)
		for lines.Scan() {
			commands <- lines.Text()
		}
	}()
	return j.run(ctx, p, commands)
}

// isLoopback reports whether a host, with or without a port, is this machine.
func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && ip.Unmap().IsLoopback()
}

// joiner prints what a participant sees.
type joiner struct {
	mu     sync.Mutex
	out    *json.Encoder
	height int
}

func (j *joiner) print(v any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	_ = j.out.Encode(v) // a reader that is gone ends the process by SIGPIPE
}

// Message is for chat; other kinds have no place on a terminal.
func (j *joiner) Message(m group.Message) {
	const chat = 4
	var body struct {
		Text string `json:"text"`
	}
	if m.Kind == chat && json.Unmarshal(m.Body, &body) == nil && isText(body.Text) {
		j.print(map[string]any{"event": "chat", "conn_id": m.Conn.String(), "text": body.Text})
	}
}

// isText reports whether a text is as the protocol wants it. JSON escapes only
// some of the control characters that a terminal would obey.
func isText(text string) bool {
	return text != "" && utf8.RuneCountInString(text) <= 4000 && !strings.ContainsFunc(text, func(r rune) bool {
		return unicode.IsControl(r) && r != '\n' && r != '\t'
	})
}

// Notice tells what happened to the group.
func (j *joiner) Notice(n group.Notice) {
	j.print(map[string]any{"event": "notice", "code": n.Code.String(), "conn_id": n.Conn.String(), "name": n.Name})
}

type joinMember struct {
	Conn        string `json:"conn_id"`
	Name        string `json:"name"`
	Leaf        uint8  `json:"leaf"`
	Host        bool   `json:"host"`
	Fingerprint string `json:"fingerprint"`
}

type joinMembership struct {
	Event   string       `json:"event"`
	Self    string       `json:"self"`
	State   string       `json:"state"`
	Epoch   uint64       `json:"epoch"`
	Code    string       `json:"code"` // of the group, to compare
	Host    bool         `json:"host"`
	Locked  bool         `json:"locked"`
	Knock   bool         `json:"knock"`
	Members []joinMember `json:"members"`
	Knocks  []joinMember `json:"knocks"`
	// LinkRefused: the service did not take the newest link.
	LinkRefused bool `json:"link_refused"`
}

func membershipOf(p *client.Participant) joinMembership {
	m := p.Membership()
	out := joinMembership{
		Event: "membership", Self: p.ConnID().String(), State: m.State.String(), Epoch: m.Epoch, Host: m.Host,
		Locked: m.Policy.Locked, Knock: m.Policy.Knock, Members: []joinMember{}, Knocks: []joinMember{},
		LinkRefused: m.LinkRefused,
	}
	if m.Authenticator != nil {
		out.Code = safety.GroupCode(m.Authenticator, m.GroupID).Digits()
	}
	for _, o := range m.Members {
		out.Members = append(out.Members, joinMember{o.Conn.String(), o.Name, o.Leaf, o.Host, safety.FingerprintOf(o.Key[:]).Tag()})
	}
	for _, k := range m.Knocks {
		out.Knocks = append(out.Knocks, joinMember{Conn: k.Conn.String(), Name: k.Name, Fingerprint: safety.FingerprintOf(k.Key[:]).Tag()})
	}
	return out
}

type joinTrack struct {
	Conn    string `json:"conn_id"`
	Source  string `json:"source"`
	Opened  uint64 `json:"opened"`
	Decoded uint64 `json:"decoded"`
	Freezes uint64 `json:"freezes"`
}

func (j *joiner) run(ctx context.Context, p *client.Participant, commands <-chan string) error {
	every := time.NewTicker(200 * time.Millisecond)
	defer every.Stop()
	var last string
	for n := 0; ; n++ {
		select {
		case <-p.Done():
			if err := p.Err(); !errors.Is(err, client.ErrClosed) {
				return errors.Join(err, p.Close())
			}
			return p.Close()
		case <-ctx.Done():
			return leave(p)
		case line, ok := <-commands:
			if !ok {
				commands = nil
				continue
			}
			if line == "leave" {
				return leave(p)
			}
			if err := command(p, line); err != nil {
				j.print(map[string]any{"event": "error", "message": err.Error()})
			}
		case <-every.C:
			m := membershipOf(p)
			if text := fmt.Sprint(m); text != last {
				last = text
				j.print(m)
				j.want(p)
			}
			if n%5 == 0 {
				j.stats(p)
			}
		}
	}
}

func leave(p *client.Participant) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := p.Leave(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// want asks for everybody's camera.
func (j *joiner) want(p *client.Participant) {
	var wishes []protocol.Wish
	for _, q := range p.Peers() {
		wishes = append(wishes, protocol.Wish{ConnID: q.ConnID, Source: protocol.SourceCamera, Height: j.height, Paused: j.height == 0})
	}
	_ = p.Want(context.Background(), wishes) // fails only when the participation is over, which run sees
}

func (j *joiner) stats(p *client.Participant) {
	s := p.Stats()
	tracks := []joinTrack{}
	for _, t := range s.Tracks {
		tracks = append(tracks, joinTrack{t.Conn.String(), string(t.Source), t.Opened, t.Decoded, t.Freezes})
	}
	dropped := map[string]uint64{}
	for i, n := range s.Keys.Dropped {
		if n > 0 {
			dropped[sframe.Drop(i).String()] = n
		}
	}
	j.print(map[string]any{"event": "stats", "tracks": tracks, "opened": s.Keys.Opened, "dropped": dropped,
		"verified": s.Keys.FramesVerified, "unverified": s.Keys.FramesUnverified, "forged": s.Keys.FramesForged,
	})
}

// command carries out a line of standard input.
func command(p *client.Participant, line string) error {
	verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	policy := p.Membership().Policy
	switch verb {
	case "":
		return nil
	case "say":
		body, err := json.Marshal(map[string]string{"id": fmt.Sprint(time.Now().UnixNano()), "text": rest})
		if err != nil {
			return err
		}
		const chat = 4
		return p.Say(chat, body)
	case "lock", "unlock":
		policy.Locked = verb == "lock"
		return p.SetPolicy(policy)
	case "knock":
		policy.Knock = rest == "on"
		return p.SetPolicy(policy)
	case "rotate":
		return p.RotateLink()
	}
	conn, err := protocol.ParseConnID(rest)
	if err != nil {
		return fmt.Errorf("there is no command %q", verb)
	}
	switch verb {
	case "admit":
		return p.Admit(conn)
	case "refuse":
		return p.Refuse(conn)
	case "kick":
		return p.Kick(conn)
	}
	return fmt.Errorf("there is no command %q", verb)
}
