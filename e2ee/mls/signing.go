package mls

import "crypto"

// Signing is an operation that needs one or more signatures by a key that may
// live elsewhere: in a hardware token, or in a browser that lets nobody read
// it and answers later. The caller signs Input, hands the signature to Supply,
// and goes on so until Input is nil; then Result has the outcome. With a key
// at hand, Sign does it all. Dropping a Signing half-way has no effect on
// anything.
type Signing[T any] struct {
	suite  CipherSuite
	public []byte
	input  []byte
	next   step
	result *T
	err    error
}

// step takes the signature over the last input and returns the next input; a
// nil next means that it was the last.
type step func(signature []byte) (input []byte, next step, err error)

// newSigning starts with input; the last step stores the outcome in result.
func newSigning[T any](suite CipherSuite, public, input []byte, next step, result *T) *Signing[T] {
	return &Signing[T]{suite: suite, public: public, input: input, next: next, result: result}
}

// Input returns the bytes to sign now, as they are (for Ed25519) or to be
// hashed with SHA-256 by the signature algorithm (for ECDSA, whose signature
// is in ASN.1); nil when the operation is complete or has failed.
func (s *Signing[T]) Input() []byte { return s.input }

// Supply takes the signature over Input and goes on to the next one, or to the
// end. A signature that does not verify is refused with ErrSignature and may
// be supplied anew; any other error ends the operation.
func (s *Signing[T]) Supply(signature []byte) error {
	if s.err != nil {
		return s.err
	}
	if s.next == nil {
		return refuse(ErrState, "nothing to sign")
	}
	if !s.suite.verify(s.public, s.input, signature) {
		return refuse(ErrSignature, "supplied signature")
	}
	s.input, s.next, s.err = s.next(signature)
	if s.err != nil {
		s.input, s.next = nil, nil
	}
	return s.err
}

// Result returns the outcome, once all signatures are there.
func (s *Signing[T]) Result() (*T, error) {
	if s.err != nil {
		return nil, s.err
	}
	if s.next != nil {
		return nil, refuse(ErrState, "a signature is missing")
	}
	return s.result, nil
}

// Sign supplies all signatures with key and returns the outcome.
func (s *Signing[T]) Sign(key crypto.Signer) (*T, error) {
	for s.next != nil {
		signature, err := s.suite.sign(key, s.input)
		if err != nil {
			return nil, err
		}
		if err := s.Supply(signature); err != nil {
			return nil, err
		}
	}
	return s.Result()
}
