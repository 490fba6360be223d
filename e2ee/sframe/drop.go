package sframe

// Drop says why a frame was not protected or not opened. It is an error value
// to compare with ==, and a label for counters.
type Drop uint8

// The reasons; the names of [Drop.String] are those of the metrics.
const (
	_               Drop = iota
	DropCodec            // nothing but Opus, VP8, VP9 and AV1 may pass
	DropEmpty            // no payload: nothing to protect
	DropNoKey            // no key for this frame
	DropMalformed        // not an SFrame frame: plaintext, truncated, a KID or CTR never used here
	DropAuth             // the tag does not verify
	DropReplay           // this CTR was opened before, or is older than the window
	DropStale            // CTR below the last heartbeat but one
	DropOrder            // RTP timestamp order contradicts CTR order
	DropHoldFull         // more frames waiting for a key or a binding than may be held
	DropHoldExpired      // waited too long for a key or a binding
	DropExhausted        // all 2^32 counter values of the key are used
	DropForged           // of somebody whose frames another member forges
	drops
)

// NumDrops is the length of a counter array indexed by Drop.
const NumDrops = int(drops)

var dropNames = [NumDrops]string{
	"none", "e2ee_unknown_codec", "e2ee_empty", "e2ee_no_key", "e2ee_malformed", "e2ee_auth_fail", "e2ee_replay",
	"e2ee_stale", "e2ee_order", "e2ee_hold_full", "e2ee_hold_expired", "e2ee_exhausted", "e2ee_forged",
}

// String is the label of the reason.
func (d Drop) String() string {
	if int(d) < NumDrops {
		return dropNames[d]
	}
	return "unknown"
}

func (d Drop) Error() string { return "sframe: frame dropped: " + d.String() }
