package config

import (
	"fmt"
	"io"
	"reflect"
	"strings"
)

// Print writes what is in force, as a file that Load reads, with the origin of each value. Secrets are not shown.
func (c *Config) Print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# sotto %s\n", c.command)
	for _, o := range options() {
		if !o.known(c.command) {
			continue
		}
		v := reflect.ValueOf(c).Elem().Field(o.index)
		text := ""
		switch p := v.Addr().Interface().(type) {
		case *string:
			text = quote(*p)
		case *[]string:
			parts := make([]string, len(*p))
			for i, s := range *p {
				parts[i] = quote(s)
			}
			text = "[" + strings.Join(parts, ", ") + "]"
		case *Secret:
			if len(*p) == 0 {
				fmt.Fprintf(&b, "# %s: is not set\n", o.key)
			} else {
				fmt.Fprintf(&b, "# %s: %d bytes, not shown; %s\n", o.key, len(*p), c.origin(o.key))
			}
			continue
		default:
			text = fmt.Sprint(v.Interface())
		}
		fmt.Fprintf(&b, "%s: %s # %s\n", o.key, text, c.origin(o.key))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func quote(s string) string { return fmt.Sprintf("%q", s) }

// Docs writes the table of all options in Markdown.
func Docs(w io.Writer) error {
	var b strings.Builder
	b.WriteString(`# Configuration of Sotto

Written by ` + "`sotto config docs`" + `. A value comes from the flag, else from the environment, else from the file that
` + "`--config` or `SOTTO_CONFIG`" + ` names (YAML, one ` + "`key: value`" + ` a line), else it is the default. Lists have commas between their
values; in the file they may be YAML lists. A key that does not exist is refused. Secrets have no flag of their own: ` + "`--KEY-file`" + ` names a
file that holds the secret, as do ` + "`SOTTO_KEY_FILE` and `KEY-file:`" + `. On SIGHUP a service reads everything again and takes what says so
below; a configuration with a fault is refused as a whole, and the former one stays. ` + "`operator` is `sotto nodes`, `rooms` and `drain`" + `.

| key and flag | environment | for | default | SIGHUP | |
|---|---|---|---|---|---|
`)
	for _, o := range options() {
		key, env := "`"+o.key+"`", "`"+o.env()+"`"
		if o.secret() {
			key += ", `" + o.key + "-file`"
			env += ", `" + o.env() + "_FILE`"
		}
		standard := cell(o.tag.Get("default"))
		for _, c := range o.commands {
			if d, ok := o.tag.Lookup("default-" + c); ok {
				standard = strings.TrimSpace(fmt.Sprintf("%s %s: %s", standard, c, cell(d)))
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", key, env, strings.Join(o.commands, ", "), standard, o.tag.Get("reload"), o.doc)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func cell(value string) string {
	if value == "" {
		return ""
	}
	return "`" + value + "`"
}
