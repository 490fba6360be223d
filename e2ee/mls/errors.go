package mls

import (
	"errors"
	"strconv"
	"strings"
)

// The reasons for which input is refused. Every error of this package wraps
// exactly one of them, so that callers can tell a stale message from a forged
// one with errors.Is; a Validator's own error is wrapped too. The text says
// more, and never holds keys or names.
var (
	// ErrEncoding means bytes that are not a valid encoding (RFC 9420 2.1).
	ErrEncoding = errors.New("mls: malformed encoding")
	// ErrUnsupported means a protocol version, cipher suite or feature that
	// this package does not implement.
	ErrUnsupported = errors.New("mls: unsupported")
	// ErrLimit means input beyond a bound of this package (see MaxLeaves).
	ErrLimit = errors.New("mls: limit exceeded")
	// ErrGroup means a message of another group.
	ErrGroup = errors.New("mls: message of another group")
	// ErrEpoch means a message of another epoch of this group.
	ErrEpoch = errors.New("mls: message of another epoch")
	// ErrSignature means a signature that does not verify.
	ErrSignature = errors.New("mls: invalid signature")
	// ErrTag means a membership or confirmation tag that does not verify.
	ErrTag = errors.New("mls: invalid authentication tag")
	// ErrDecrypt means a ciphertext that does not open, or opens to what it
	// cannot be. Of a commit it means that the sender has locked this member
	// out: everything that others can see of it is valid, and they may follow.
	ErrDecrypt = errors.New("mls: decryption failed")
	// ErrGeneration means a message key that was used or dropped before, or
	// that is too far ahead.
	ErrGeneration = errors.New("mls: message key not available")
	// ErrSender means a sender that may not send this message.
	ErrSender = errors.New("mls: sender not allowed")
	// ErrOwnMessage means a message that this member sent itself. Of a
	// PrivateMessage this is only what its sender says: another member may have
	// made it. Whoever waits for the echo of a message compares bytes.
	ErrOwnMessage = errors.New("mls: own message")
	// ErrLeaf means a leaf node that fails the checks of RFC 9420 7.3, or that
	// the application's Validator refuses.
	ErrLeaf = errors.New("mls: invalid leaf node")
	// ErrKeyPackage means a key package that fails the checks of RFC 9420 10.1.
	ErrKeyPackage = errors.New("mls: invalid key package")
	// ErrTree means a ratchet tree that fails the checks of RFC 9420 12.4.3.1.
	ErrTree = errors.New("mls: invalid ratchet tree")
	// ErrProposal means a proposal or a list of them that fails the checks of
	// RFC 9420 12.1 and 12.2.
	ErrProposal = errors.New("mls: invalid proposal")
	// ErrPath means an update path that is missing, superfluous in shape, or
	// inconsistent with the tree (RFC 9420 7.5, 12.4).
	ErrPath = errors.New("mls: invalid update path")
	// ErrPSK means a pre-shared key that this member does not have.
	ErrPSK = errors.New("mls: unknown pre-shared key")
	// ErrWelcome means a Welcome that does not admit this key package, or that
	// contradicts itself.
	ErrWelcome = errors.New("mls: invalid welcome")
	// ErrState means a call that the state of an object does not allow.
	ErrState = errors.New("mls: call out of order")
)

// refusal is the error type of this package. Its text is made when somebody
// wants to read it, and without package fmt, which would add 100 kB to a
// WebAssembly build.
type refusal struct {
	reason  error
	cause   error // of the application, or nil
	text    string
	numbers []uint64 // for each %d in text
}

// refuse returns an error with a reason from above and what was wrong.
func refuse(reason error, text string, numbers ...uint64) error {
	return &refusal{reason: reason, text: text, numbers: numbers}
}

// Error implements error.
func (r *refusal) Error() string {
	out := r.reason.Error() + ": "
	text := r.text
	for _, n := range r.numbers {
		before, after, _ := strings.Cut(text, "%d")
		out += before + strconv.FormatUint(n, 10)
		text = after
	}
	out += text
	if r.cause != nil {
		out += ": " + r.cause.Error()
	}
	return out
}

// Unwrap gives the reason and the application's error to errors.Is.
func (r *refusal) Unwrap() []error {
	if r.cause == nil {
		return []error{r.reason}
	}
	return []error{r.reason, r.cause}
}
