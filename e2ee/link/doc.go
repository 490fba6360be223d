// Package link is what the link of a room gives to its members: the room's
// name, the key that admits connections, and the key that seals everything
// members tell each other through the service.
//
//	link     = https://HOST/r/<room id>#<secret>
//	prk      = HKDF-Extract-SHA256(salt = "sotto-e2ee/1", secret)
//	link_sig = Ed25519 key from the seed HKDF-Expand(prk, "link-sig", 32)
//	room id  = lowercase unpadded base32(SHA-256(link_sig.public)[:16])
//	k_seal   = HKDF-Expand(prk, "seal", 32)
//	psk      = HKDF-Expand(prk, "mls-psk", 32)
//
// The secret is 32 random bytes and never leaves the members: browsers do not
// send the fragment of a URL, and the service sees only signatures and sealed
// envelopes.
package link
