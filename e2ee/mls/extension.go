package mls

import "slices"

// ExtensionType is a registered extension (RFC 9420 17.3) or a private one
// (0xF000 and above).
type ExtensionType uint16

// The extension types of RFC 9420. Every member supports them without saying
// so in its capabilities (RFC 9420 7.2).
const (
	ExtensionApplicationID        ExtensionType = 1 // in leaf nodes
	ExtensionRatchetTree          ExtensionType = 2 // in GroupInfo
	ExtensionRequiredCapabilities ExtensionType = 3 // in GroupContext
	ExtensionExternalPub          ExtensionType = 4 // in GroupInfo
	ExtensionExternalSenders      ExtensionType = 5 // in GroupContext
)

// maxTypes bounds lists whose items are of different types.
const maxTypes = 1024

func (t ExtensionType) isDefault() bool { return t >= 1 && t <= 5 }

// Extension is one entry of an extension list; types that are unknown, such as
// GREASE (RFC 9420 13.5), are carried along.
type Extension struct {
	Type ExtensionType
	Data []byte
}

// Extensions is a list of extensions of different types.
type Extensions []Extension

// Get returns the data of the extension of type t.
func (e Extensions) Get(t ExtensionType) (data []byte, ok bool) {
	for _, x := range e {
		if x.Type == t {
			return x.Data, true
		}
	}
	return nil, false
}

func (e Extensions) encode(w *writer) {
	w.vector(func(w *writer) {
		for _, x := range e {
			w.u16(uint16(x.Type))
			w.opaque(x.Data)
		}
	})
}

// readExtensions decodes a list and refuses a type that is there twice
// (RFC 9420 13.4).
func readExtensions(r *reader) Extensions {
	var out Extensions
	seen := map[ExtensionType]bool{}
	r.vector(maxTypes, func(r *reader) {
		x := Extension{Type: ExtensionType(r.u16()), Data: r.opaque()}
		if seen[x.Type] {
			r.fail("extension %d twice", uint64(x.Type))
		}
		seen[x.Type] = true
		out = append(out, x)
	})
	return out
}

func (e Extensions) clone() Extensions {
	out := slices.Clone(e)
	for i := range out {
		out[i].Data = slices.Clone(out[i].Data)
	}
	return out
}

// RequiredCapabilities is the extension by which a group demands abilities of
// all its members (RFC 9420 11.1).
type RequiredCapabilities struct {
	Extensions  []ExtensionType
	Proposals   []ProposalType
	Credentials []CredentialType
}

// Extension returns c as an entry for the extensions of a GroupContext.
func (c RequiredCapabilities) Extension() Extension {
	return Extension{Type: ExtensionRequiredCapabilities, Data: marshal(&c)}
}

func (c *RequiredCapabilities) encode(w *writer) {
	writeTypes(w, c.Extensions)
	writeTypes(w, c.Proposals)
	writeTypes(w, c.Credentials)
}

func (c *RequiredCapabilities) decode(r *reader) {
	c.Extensions = readTypes[ExtensionType](r)
	c.Proposals = readTypes[ProposalType](r)
	c.Credentials = readTypes[CredentialType](r)
}

// required returns the required capabilities of a GroupContext, if any.
func (e Extensions) required() (c RequiredCapabilities, err error) {
	if data, ok := e.Get(ExtensionRequiredCapabilities); ok {
		err = unmarshal(data, &c)
	}
	return c, err
}

func writeTypes[T ~uint16](w *writer, types []T) {
	w.length(2 * len(types))
	for _, t := range types {
		w.u16(uint16(t))
	}
}

func readTypes[T ~uint16](r *reader) []T {
	var out []T
	r.vector(maxTypes, func(r *reader) { out = append(out, T(r.u16())) })
	return out
}
