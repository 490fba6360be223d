package mls

import (
	"bytes"
	"errors"
	"maps"
	"testing"
)

func TestSigning_takesSignaturesOneByOne(t *testing.T) {
	w := newWorldWith(t, 2)
	by := w.members[0]
	inv := w.invitation(w.person())
	for name, test := range map[string]struct {
		options CommitOptions
		want    int
	}{
		"add":           {CommitOptions{Proposals: []Proposal{w.add(inv)}}, 2},
		"add with path": {CommitOptions{Proposals: []Proposal{w.add(inv)}, Path: true}, 3},
		"empty":         {CommitOptions{}, 2},
		"psk":           {CommitOptions{Proposals: []Proposal{NewExternalPSK([]byte(linkPSK))}}, 1},
	} {
		s := must(by.group.Commit(test.options))(t)
		n := 0
		for ; s.Input() != nil; n++ {
			if _, err := s.Result(); !errors.Is(err, ErrState) {
				t.Errorf("%s: result before its time: %v", name, err)
			}
			wrong := must(w.suite.sign(w.members[1].key, s.Input()))(t)
			if err := s.Supply(wrong); !errors.Is(err, ErrSignature) {
				t.Errorf("%s: signature of another key: %v", name, err)
			}
			if err := s.Supply(must(w.suite.sign(by.key, s.Input()))(t)); err != nil {
				t.Fatal(err)
			}
		}
		if n != test.want {
			t.Errorf("%s: %d signatures, want %d", name, n, test.want)
		}
		c := must(s.Result())(t)
		must(w.members[1].group.Process(c.Message))(t)
		if err := s.Supply(nil); !errors.Is(err, ErrState) {
			t.Errorf("%s: one signature too many: %v", name, err)
		}
	}
}

func TestSigning_otherCommitWinsMeanwhile(t *testing.T) {
	w := newWorldWith(t, 3)
	by, rival := w.members[0], w.members[1]
	slow := must(by.group.Commit(CommitOptions{}))(t)
	late := must(by.group.Seal([]byte("late"), nil, 0))(t)
	old, reader := by.group, w.members[2].group
	w.deliver(rival, w.commit(rival, CommitOptions{}))
	old.Retire()
	if _, err := slow.Sign(by.key); !errors.Is(err, ErrState) {
		t.Errorf("commit on a retired epoch: %v", err)
	}
	// An application message may still be on its way.
	sealed := must(late.Sign(by.key))(t)
	must(reader.Process(sealed.Message))(t)
	w.agree()
}

func TestGroup_retiredEpochKeepsNoSecrets(t *testing.T) {
	w := newWorldWith(t, 3)
	by, other := w.members[0], w.members[1]
	old := other.group
	late, c := sealText(t, by, "late"), w.commit(by, CommitOptions{})
	w.deliver(by, c)
	held := maps.Clone(old.keys)
	secrets := map[nodeIndex][]byte{}
	for x, key := range held {
		secrets[x] = key.secret
	}
	old.Retire()
	for x, secret := range secrets {
		if bytes.Count(secret, []byte{0}) != len(secret) || held[x].secret != nil {
			t.Errorf("the private key of node %d is still there", x)
		}
	}
	for name, secret := range map[string][]byte{
		"init": old.secrets.init, "exporter": old.secrets.exporter, "encryption": old.secrets.encryption,
		"membership": old.secrets.membership, "resumption": old.secrets.resumption,
	} {
		same(t, name, secret, make([]byte, hashSize))
	}
	if len(old.keys) != 0 || old.EpochAuthenticator() != nil || old.ResumptionPSK() != nil {
		t.Error("secrets of a retired epoch")
	}
	_, exportErr := old.Export("x", nil, 16)
	_, processErr := old.Process(c.Message)
	_, commitErr := old.Commit(CommitOptions{})
	_, sealErr := old.Seal([]byte("x"), nil, 0)
	for _, err := range []error{exportErr, processErr, commitErr, sealErr} {
		if !errors.Is(err, ErrState) {
			t.Errorf("retired epoch: %v", err)
		}
	}
	if r := must(old.Process(late))(t); string(r.Data) != "late" {
		t.Errorf("late message: %q", r.Data)
	}
	w.agree() // the new epoch has lost nothing
	w.deliver(other, w.commit(other, CommitOptions{}))
	w.agree()
}

func TestInvitation_isOfNoUseOnceErased(t *testing.T) {
	w := newWorld(t)
	inv := w.invitation(w.person())
	c := w.commit(w.members[0], CommitOptions{Proposals: []Proposal{w.add(inv)}})
	joined := must(Join(w.config(), inv, c.Welcome, nil))(t)
	inv.Erase()
	if _, err := Join(w.config(), inv, c.Welcome, nil); !errors.Is(err, ErrState) {
		t.Errorf("joined with an erased invitation: %v", err)
	}
	w.members[0].group = c.Group
	next := w.commit(w.members[0], CommitOptions{})
	must(joined.Group.Process(next.Message))(t) // with a private key of the group's own
}

func TestSigning_refusesKeysOfOtherKinds(t *testing.T) {
	w := newWorld(t)
	if _, err := SignatureKeyOf(P256AES128SHA256P256, w.members[0].key.Public()); !errors.Is(err, ErrUnsupported) {
		t.Errorf("Ed25519 key in suite 2: %v", err)
	}
	if _, err := SignatureKeyOf(3, w.members[0].key.Public()); !errors.Is(err, ErrUnsupported) {
		t.Errorf("suite 3: %v", err)
	}
	m := w.member(w.members[0])
	m.Suite = 7
	if _, err := NewInvitation(m); !errors.Is(err, ErrUnsupported) {
		t.Errorf("suite 7: %v", err)
	}
}
