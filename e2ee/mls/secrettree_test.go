package mls

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"testing"
)

func TestSecretTree_deletesUsedAndOldKeys(t *testing.T) {
	secret := randomBytes(hashSize)
	tree := newSecretTree(4, secret)
	take := func(generation uint32) error {
		use, err := tree.find(2, ratchetApplication, generation)
		if err == nil {
			use.consume()
		}
		return err
	}
	for _, step := range []struct {
		generation uint32
		ok         bool
	}{
		{5, true}, {5, false}, {3, true}, {3, false}, {0, true},
		{6 + maxSkipped + 1, false}, // too far ahead
		{6 + maxSkipped, true},
		{4, false},            // too old by now
		{6, true}, {6, false}, // the oldest that is kept
		{math.MaxUint32, false},
	} {
		if err := take(step.generation); (err == nil) != step.ok || (err != nil && !errors.Is(err, ErrGeneration)) {
			t.Errorf("generation %d: %v", step.generation, err)
		}
	}
	if r := tree.leaves[2][ratchetApplication]; len(r.skipped) != maxSkipped-1 {
		t.Errorf("%d keys are kept", len(r.skipped))
	}
}

func TestSecretTree_keepsNothingFromWhichUsedKeysFollow(t *testing.T) {
	secret := randomBytes(hashSize)
	tree := newSecretTree(8, secret)
	var seen [][]byte // all secrets on the way to the key of leaf 5, generation 0
	seen = append(seen, secret)
	for _, side := range []string{"right", "left", "right"} {
		seen = append(seen, expandWithLabel(seen[len(seen)-1], "tree", []byte(side), hashSize))
	}
	seen = append(seen, expandWithLabel(seen[len(seen)-1], "application", nil, hashSize))
	key, _ := derive(seen[len(seen)-1], 0)
	seen = append(seen, key.key, key.nonce)

	use := must(tree.find(5, ratchetApplication, 0))(t)
	if !bytes.Equal(use.key.key, key.key) {
		t.Fatal("the test derives another key")
	}
	use.consume()
	if slices.ContainsFunc(held(tree), func(b []byte) bool {
		return slices.ContainsFunc(seen, func(s []byte) bool { return bytes.Equal(s, b) })
	}) {
		t.Error("a secret of a used key is still there")
	}
	all := held(tree)
	tree.erase()
	for _, b := range all {
		if !bytes.Equal(b, make([]byte, len(b))) {
			t.Error("a secret survives erase")
		}
	}
	if _, err := tree.find(1, ratchetApplication, 0); !errors.Is(err, ErrState) {
		t.Errorf("erased tree: %v", err)
	}
}

// held are all secrets in the tree.
func held(tree *secretTree) (all [][]byte) {
	for _, secret := range tree.nodes {
		all = append(all, secret)
	}
	for _, pair := range tree.leaves {
		for _, r := range pair {
			all = append(all, r.secret)
			for _, k := range r.skipped {
				all = append(all, k.key, k.nonce)
			}
		}
	}
	return all
}

func TestSecretTree_findChangesNothing(t *testing.T) {
	tree := newSecretTree(2, randomBytes(hashSize))
	first := must(tree.find(1, ratchetHandshake, 7))(t)
	for _, g := range []uint32{7, 0, 900, 7} {
		use := must(tree.find(1, ratchetHandshake, g))(t)
		if g == 7 && !bytes.Equal(use.key.key, first.key.key) {
			t.Error("another key for the same generation")
		}
	}
	first.consume()
	for _, g := range []uint32{0, 6, 8} {
		must(tree.find(1, ratchetHandshake, g))(t)
	}
}

// A message that does not open, at the end of the window, leaves nothing of the
// keys behind that were derived to look at it.
func TestSecretTree_releaseOverwritesWhatWasDerived(t *testing.T) {
	tree := newSecretTree(4, randomBytes(hashSize))
	use := must(tree.find(2, ratchetApplication, maxSkipped))(t)
	ahead, skipped, key := use.secret, use.skipped, use.key
	before := bytes.Clone(use.ratchet.secret)
	use.release()
	zero := func(b []byte) bool { return len(b) > 0 && bytes.Count(b, []byte{0}) == len(b) }
	if !zero(ahead) || !zero(key.key) || !zero(key.nonce) {
		t.Error("the key or what follows is still there")
	}
	if len(skipped) != maxSkipped {
		t.Fatalf("%d keys skipped", len(skipped))
	}
	for generation, k := range skipped {
		if !zero(k.key) {
			t.Fatalf("key %d is still there", generation)
		}
	}
	if !bytes.Equal(use.ratchet.secret, before) || use.ratchet.next != 0 {
		t.Error("the ratchet has changed")
	}

	// A key that was kept for a late message stays for the next attempt.
	must(tree.find(2, ratchetApplication, 1))(t).consume()
	use = must(tree.find(2, ratchetApplication, 0))(t)
	kept := bytes.Clone(use.key.key)
	use.release()
	same(t, "key of the late message", must(tree.find(2, ratchetApplication, 0))(t).key.key, kept)
}

func TestSecretTree_ratchetEnds(t *testing.T) {
	tree := newSecretTree(1, randomBytes(hashSize))
	r := must(tree.ratchet(0, ratchetApplication))(t)
	r.next = math.MaxUint32
	if g, _, err := tree.next(0, ratchetApplication); err != nil || g != math.MaxUint32 {
		t.Errorf("last generation: %d, %v", g, err)
	}
	if _, _, err := tree.next(0, ratchetApplication); !errors.Is(err, ErrGeneration) {
		t.Errorf("after the last generation: %v", err)
	}
}

func TestApplication_orderReplayAndEpochs(t *testing.T) {
	w := newWorldWith(t, 3)
	by, other := w.members[0], w.members[1]
	var sealed [][]byte
	for _, text := range []string{"a", "b", "c"} {
		sealed = append(sealed, sealText(t, by, text))
	}
	for _, i := range []int{2, 0, 1} {
		r := must(other.group.Process(sealed[i]))(t)
		if string(r.Data) != string("abc"[i]) || string(r.AuthenticatedData) != "aad" || r.Kind != KindApplication || r.Group != other.group {
			t.Errorf("%+v", r)
		}
		if _, err := other.group.Process(sealed[i]); !errors.Is(err, ErrGeneration) {
			t.Errorf("replayed: %v", err)
		}
	}
	// A message of the old epoch still opens with the old state, until erased.
	late := sealText(t, by, "late")
	later := sealText(t, by, "later")
	old := other.group
	w.deliver(by, w.commit(by, CommitOptions{}))
	if _, err := other.group.Process(late); !errors.Is(err, ErrEpoch) {
		t.Errorf("late message in the new epoch: %v", err)
	}
	must(old.Process(late))(t)
	old.Erase()
	if _, err := old.Process(later); err == nil {
		t.Error("an erased epoch opens a message")
	}
	w.agree()
}

func TestApplication_joinerReadsNothingFromBefore(t *testing.T) {
	w := newWorldWith(t, 2)
	by := w.members[0]
	sealed, before := sealText(t, by, "before"), exporter(t, by.group)
	w.join(by, 1, NewExternalPSK([]byte(linkPSK)))
	joiner := w.members[2].group
	if _, err := joiner.Process(sealed); !errors.Is(err, ErrEpoch) {
		t.Errorf("message from before: %v", err)
	}
	posing := *joiner // even if it makes itself believe in the old epoch
	posing.context.Epoch--
	if _, err := posing.Process(sealed); !errors.Is(err, ErrDecrypt) {
		t.Errorf("message from before, epoch forged: %v", err)
	}
	if bytes.Equal(exporter(t, joiner), before) {
		t.Error("the exporter did not change")
	}
}

func TestApplication_forgedByAnotherMember(t *testing.T) {
	w := newWorldWith(t, 3)
	victim, forger, reader := w.members[0], w.members[1], w.members[2]
	// The forger knows all group keys: it seals at the victim's leaf, but can
	// only sign with its own key.
	posing := *forger.group
	posing.own = victim.group.Own()
	posing.messages = newSecretTree(posing.tree.size(), randomBytes(hashSize))
	a := must(posing.Seal([]byte("forged"), nil, 0))(t)
	signature := must(w.suite.sign(forger.key, a.Input()))(t)
	if err := a.Supply(signature); !errors.Is(err, ErrSignature) {
		t.Fatalf("signature of another: %v", err)
	}
	*a = Signing[Sealed]{suite: a.suite, public: forger.group.Leaf(forger.group.Own()).SignatureKey, input: a.input, next: a.next, result: a.result}
	posing.messages = reader.group.messages // the same secrets as the victim's
	forged := must(a.Sign(forger.key))(t)
	fresh := *reader.group
	fresh.messages = w.members[0].group.messages
	fresh.own = 7 // nobody
	if _, err := fresh.Process(forged.Message); !errors.Is(err, ErrSignature) {
		t.Errorf("forged message: %v", err)
	}
}
