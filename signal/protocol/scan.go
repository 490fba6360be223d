package protocol

import (
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// scanner walks a message once, before encoding/json sees it, and refuses
// what encoding/json lets pass or spends time on: depth, duplicate and
// case-folding member names, lone surrogates, NUL, numbers beyond float64,
// trailing data. It keeps the top-level member names and the type.
type scanner struct {
	b      []byte
	at     int
	values int
	names  []string // of the open objects, one after the other
	top    []string // of the message itself
	kind   string   // value of the member "type"
}

var (
	errSyntax    = errors.New("not JSON")
	errObject    = errors.New("not a JSON object")
	errDepth     = errors.New("nested too deeply")
	errValues    = errors.New("too many values")
	errMembers   = errors.New("too many members")
	errName      = errors.New("member name outside [a-z0-9_]{1,32}")
	errDuplicate = errors.New("member name twice")
	errString    = errors.New("string is not valid Unicode without NUL")
	errNumber    = errors.New("number out of range")
	errNull      = errors.New("null is not used")
	errType      = errors.New("type is missing or not a string")
)

// maxName is the length in bytes of a member name.
const maxName = 32

func (s *scanner) scan(b []byte) error {
	*s = scanner{b: b}
	s.space()
	if s.peek() != '{' {
		return errObject
	}
	if err := s.object(1); err != nil {
		return err
	}
	s.space()
	if s.at != len(b) {
		return fmt.Errorf("after the message: %w", errSyntax)
	}
	if s.kind == "" {
		return errType
	}
	return nil
}

func (s *scanner) has(name string) bool { return contains(s.top, name) }

func (s *scanner) value(depth int) error {
	if s.values++; s.values > MaxValues {
		return errValues
	}
	switch c := s.peek(); {
	case c == '{':
		return s.object(depth + 1)
	case c == '[':
		return s.array(depth + 1)
	case c == '"':
		_, err := s.text()
		return err
	case c == '-' || '0' <= c && c <= '9':
		return s.number()
	case c == 't':
		return s.word("true")
	case c == 'f':
		return s.word("false")
	case c == 'n':
		// encoding/json takes null for any type and leaves the zero value: a
		// required member would then count as given.
		return errNull
	}
	return errSyntax
}

func (s *scanner) object(depth int) error {
	if depth > MaxDepth {
		return errDepth
	}
	first := len(s.names)
	s.at++
	for s.space(); s.peek() != '}'; s.space() {
		if len(s.names) > first {
			if err := s.word(","); err != nil {
				return err
			}
			s.space()
		}
		name, err := s.name()
		if err != nil {
			return err
		}
		if contains(s.names[first:], name) {
			return errDuplicate
		}
		if s.names = append(s.names, name); len(s.names)-first > MaxMembers {
			return errMembers
		}
		s.space()
		if err := s.word(":"); err != nil {
			return err
		}
		s.space()
		if depth == 1 && name == "type" {
			err = s.typeValue()
		} else {
			err = s.value(depth)
		}
		if err != nil {
			return err
		}
	}
	s.at++
	if depth == 1 {
		s.top = s.names
	} else {
		s.names = s.names[:first]
	}
	return nil
}

func (s *scanner) array(depth int) error {
	if depth > MaxDepth {
		return errDepth
	}
	s.at++
	for n := 0; ; n++ {
		s.space()
		if s.peek() == ']' {
			s.at++
			return nil
		}
		if n > 0 {
			if err := s.word(","); err != nil {
				return err
			}
			s.space()
		}
		if err := s.value(depth); err != nil {
			return err
		}
	}
}

// typeValue reads the value of the top-level "type". No type has an escape.
func (s *scanner) typeValue() error {
	if s.peek() != '"' {
		return errType
	}
	raw, err := s.text()
	if err != nil {
		return err
	}
	if len(raw) == 0 || len(raw) > maxName {
		return errType
	}
	s.kind = string(raw)
	return nil
}

// name reads a member name. The narrow class keeps encoding/json's
// case-insensitive matching, and every look-alike, out of the protocol.
func (s *scanner) name() (string, error) {
	if s.peek() != '"' {
		return "", errSyntax
	}
	raw, err := s.text()
	if err != nil {
		return "", err
	}
	if len(raw) == 0 || len(raw) > maxName {
		return "", errName
	}
	for _, c := range raw {
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '_') {
			return "", errName
		}
	}
	return string(raw), nil
}

// text reads a string and returns what stands between its quotes, escapes
// unresolved.
func (s *scanner) text() ([]byte, error) {
	s.at++
	start := s.at
	for s.at < len(s.b) {
		switch c := s.b[s.at]; {
		case c == '"':
			s.at++
			return s.b[start : s.at-1], nil
		case c < 0x20:
			return nil, errString
		case c == '\\':
			if err := s.escape(); err != nil {
				return nil, err
			}
		case c < utf8.RuneSelf:
			s.at++
		default:
			r, size := utf8.DecodeRune(s.b[s.at:])
			if r == utf8.RuneError && size == 1 {
				return nil, errString
			}
			s.at += size
		}
	}
	return nil, errSyntax
}

func (s *scanner) escape() error {
	if s.at+1 >= len(s.b) {
		return errSyntax
	}
	switch s.b[s.at+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.at += 2
		return nil
	case 'u':
	default:
		return errSyntax
	}
	unit, err := s.codeUnit()
	switch {
	case err != nil:
		return err
	case unit == 0, 0xdc00 <= unit && unit <= 0xdfff:
		return errString
	case unit < 0xd800 || unit > 0xdfff:
		return nil
	}
	if low, err := s.codeUnit(); err != nil || low < 0xdc00 || low > 0xdfff {
		return errString
	}
	return nil
}

// codeUnit reads \uXXXX.
func (s *scanner) codeUnit() (uint16, error) {
	if s.at+6 > len(s.b) || s.b[s.at] != '\\' || s.b[s.at+1] != 'u' {
		return 0, errSyntax
	}
	var unit uint16
	for _, c := range s.b[s.at+2 : s.at+6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, errSyntax
		}
		unit = unit<<4 | uint16(c)
	}
	s.at += 6
	return unit, nil
}

// number reads a number of the JSON grammar that a float64 can hold.
func (s *scanner) number() error {
	start := s.at
	if s.peek() == '-' {
		s.at++
	}
	switch c := s.peek(); {
	case c == '0':
		s.at++
	case '1' <= c && c <= '9':
		s.digits()
	default:
		return errSyntax
	}
	if s.peek() == '.' {
		s.at++
		if s.digits() == 0 {
			return errSyntax
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.at++
		if c := s.peek(); c == '+' || c == '-' {
			s.at++
		}
		if s.digits() == 0 {
			return errSyntax
		}
	}
	if s.at-start > MaxNumber {
		return errNumber
	}
	if _, err := strconv.ParseFloat(string(s.b[start:s.at]), 64); err != nil {
		return errNumber
	}
	return nil
}

func (s *scanner) digits() (n int) {
	for c := s.peek(); '0' <= c && c <= '9'; c = s.peek() {
		s.at++
		n++
	}
	return n
}

func (s *scanner) word(w string) error {
	if len(s.b)-s.at < len(w) || string(s.b[s.at:s.at+len(w)]) != w {
		return errSyntax
	}
	s.at += len(w)
	return nil
}

func (s *scanner) space() {
	for s.at < len(s.b) {
		switch s.b[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return
		}
	}
}

// peek is the next byte, or 0 at the end: 0 begins no token.
func (s *scanner) peek() byte {
	if s.at < len(s.b) {
		return s.b[s.at]
	}
	return 0
}

func contains(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}
