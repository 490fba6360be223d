package config

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// ErrUsage marks an error about flags that has been printed together with those that exist.
var ErrUsage = errors.New("wrong flags")

// ErrInvalid is in every error about what the environment or the file says.
var ErrInvalid = errors.New("configuration")

// maxFile caps the configuration file, and a secret's, in bytes.
const maxFile = 1 << 20

// Load reads the configuration of a command. It returns the arguments that are no flags. env looks a variable up
// (os.LookupEnv). Errors are flag.ErrHelp, ErrUsage, or wrap ErrInvalid.
func Load(command string, args []string, env func(string) (string, bool), stderr io.Writer) (*Config, []string, error) {
	c := &Config{command: command, origins: map[string]string{}}
	fs := flag.NewFlagSet("sotto "+command, flag.ContinueOnError)
	fs.SetOutput(stderr)
	return c.load(fs, args, env)
}

// LoadFlags is Load for a command that has flags of its own in fs.
func LoadFlags(command string, fs *flag.FlagSet, args []string, env func(string) (string, bool)) (*Config, []string, error) {
	c := &Config{command: command, origins: map[string]string{}}
	return c.load(fs, args, env)
}

func (c *Config) load(fs *flag.FlagSet, args []string, env func(string) (string, bool)) (*Config, []string, error) {
	file := fs.String("config", "", "`FILE` with the configuration, YAML; also SOTTO_CONFIG")
	flags := map[string]string{}
	for _, o := range options() {
		if o.known(c.command) {
			o.flag(fs, c.command, flags)
		}
	}
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, nil, err
		}
		return nil, nil, ErrUsage
	}
	if *file == "" {
		*file, _ = env("SOTTO_CONFIG")
	}
	content := map[string]located{}
	if *file != "" {
		var err error
		if content, err = readFile(*file); err != nil {
			return nil, nil, err
		}
	}
	for _, o := range options() {
		if !o.known(c.command) {
			continue
		}
		if err := c.resolve(o, flags, env, content); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	if c.command == Operator && c.ClusterURL == "" {
		c.ClusterURL = c.nearEngine()
	}
	return c, fs.Args(), nil
}

// nearEngine is where the engine of a 'sotto signal' with this configuration is, from its own machine.
func (c *Config) nearEngine() string {
	host, port, err := net.SplitHostPort(c.ClusterListen)
	if err != nil {
		return "127.0.0.1:4222"
	}
	if a, err := netip.ParseAddr(host); host == "" || err == nil && a.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// flag defines the flag of an option. A value that was given lands in values.
func (o option) flag(fs *flag.FlagSet, command string, values map[string]string) {
	name, doc := o.key, o.doc
	if o.secret() {
		name, doc = o.key+"-file", "`FILE` with the "+o.doc
	} else if d := o.standard(command); d != "" && d != "false" {
		doc += fmt.Sprintf(" (default %s)", d)
	}
	set := func(s string) error {
		if !o.secret() {
			if err := o.parse(reflect.New(reflect.TypeFor[Config]()).Elem().Field(o.index), s); err != nil {
				return err
			}
		}
		values[name] = s
		return nil
	}
	if reflect.TypeFor[Config]().Field(o.index).Type.Kind() == reflect.Bool {
		fs.BoolFunc(name, doc, set)
		return
	}
	fs.Func(name, doc, set)
}

// located is a value of the file.
type located struct {
	value  string
	origin string // file and line
}

// resolve sets one option from the first source that has it.
func (c *Config) resolve(o option, flags map[string]string, env func(string) (string, bool), content map[string]located) error {
	for _, source := range []func(key string) (located, bool){
		func(key string) (located, bool) {
			v, ok := flags[key]
			return located{v, "flag --" + key}, ok
		},
		func(key string) (located, bool) {
			name := o.env() + strings.ToUpper(strings.ReplaceAll(strings.TrimPrefix(key, o.key), "-", "_"))
			v, ok := env(name)
			return located{v, "environment " + name}, ok
		},
		func(key string) (located, bool) {
			v, ok := content[key]
			return v, ok
		},
		func(key string) (located, bool) {
			return located{o.standard(c.command), ""}, key == o.key
		},
	} {
		v, ok := source(o.key)
		if o.secret() {
			if f, inFile := source(o.key + "-file"); inFile && f.value != "" {
				if ok && v.origin != "" && v.value != "" {
					return fmt.Errorf("%s: both the secret and its file are given by the %s", o.key, strings.Fields(v.origin)[0])
				}
				secret, err := readSecret(f.value)
				if err != nil {
					return fmt.Errorf("%s-file (from %s): %w", o.key, f.origin, err)
				}
				v, ok = located{secret, f.origin}, true
			}
		}
		if !ok {
			continue
		}
		if err := o.parse(reflect.ValueOf(c).Elem().Field(o.index), v.value); err != nil {
			return fmt.Errorf("%s (from %s): %w", o.key, v.origin, err)
		}
		if v.origin != "" {
			c.origins[o.key] = v.origin
		}
		return nil
	}
	return nil
}

// parse sets a field from text.
func (o option) parse(field reflect.Value, text string) error {
	switch p := field.Addr().Interface().(type) {
	case *string:
		*p = text
	case *Secret:
		*p = Secret(text)
	case *[]string:
		*p = nil
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				*p = append(*p, part)
			}
		}
	case *bool:
		v, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		*p = v
	case *int:
		v, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%q is no whole number", text)
		}
		*p = v
	default:
		panic("config: option " + o.key + " has a type without a parser")
	}
	return nil
}

// readSecret reads a secret's file; a line break at the end does not belong to it.
func readSecret(path string) (string, error) {
	data, err := readCapped(path)
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(data), "\r\n"), nil
}

func readCapped(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s: larger than %d bytes", path, maxFile)
	}
	return data, err
}

// readFile reads a configuration file: one mapping from keys to a value or a list of values. Options of any command may be in
// it, so that one file serves all; anything else is refused with its line.
func readFile(path string) (map[string]located, error) {
	data, err := readCapped(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	content, err := parseFile(path, data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return content, nil
}

func parseFile(path string, data []byte) (map[string]located, error) {
	content := map[string]located{}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return content, nil
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	at := func(n *yaml.Node, format string, args ...any) error {
		return fmt.Errorf("%s:%d: %s", path, n.Line, fmt.Sprintf(format, args...))
	}
	root := document.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return content, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, at(root, "not a list of 'key: value' lines")
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		if !knownKey(key.Value) || key.Kind != yaml.ScalarNode {
			return nil, at(key, "unknown key %q%s", clip(key.Value), suggestion(key.Value))
		}
		if _, twice := content[key.Value]; twice {
			return nil, at(key, "%s is there twice", key.Value)
		}
		text, ok := scalar(value)
		if !ok {
			return nil, at(value, "%s: neither a value nor a list of values", key.Value)
		}
		content[key.Value] = located{text, fmt.Sprintf("file %s:%d", path, key.Line)}
	}
	if err := decoder.Decode(&document); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: more than one document", path)
	}
	return content, nil
}

// scalar is the text of a value, with commas between those of a list.
func scalar(n *yaml.Node) (string, bool) {
	switch n.Kind {
	case yaml.ScalarNode:
		if n.Tag == "!!null" {
			return "", true
		}
		return n.Value, true
	case yaml.SequenceNode:
		parts := make([]string, len(n.Content))
		for i, item := range n.Content {
			if item.Kind != yaml.ScalarNode || strings.Contains(item.Value, ",") {
				return "", false
			}
			parts[i] = item.Value
		}
		return strings.Join(parts, ","), true
	}
	return "", false
}

func knownKey(key string) bool {
	if _, ok := find(key); ok {
		return true
	}
	o, ok := find(strings.TrimSuffix(key, "-file"))
	return ok && o.secret() && strings.HasSuffix(key, "-file")
}

// suggestion names the option that was meant, if it is near.
func suggestion(key string) string {
	norm := strings.ToLower(strings.ReplaceAll(key, "_", "-"))
	best, distance := "", 3
	for _, o := range options() {
		for _, name := range []string{o.key, o.key + "-file"} {
			if d := edits(norm, name); d < distance && knownKey(name) {
				best, distance = name, d
			}
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (%s?)", best)
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}

func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
