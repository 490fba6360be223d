package transport

import (
	"fmt"

	"sotto/sfu/packet"
)

// Continues checks that o can follow former in the same session: the certificate is the same, m-lines keep place, mid and
// kind (a rejected one may be reused, RFC 9429 5.2.2), and no payload type or header extension id changes its meaning. The
// errors wrap ErrOfferChanged. ICE credentials may differ: that is an ICE restart, see Restarts.
func (o *Offer) Continues(former *Offer) error {
	if o.Fingerprint != former.Fingerprint {
		return fmt.Errorf("%w: certificate", ErrOfferChanged)
	}
	if len(o.Media) < len(former.Media) {
		return fmt.Errorf("%w: fewer m-lines", ErrOfferChanged)
	}
	for i := range former.Media {
		was, is := &former.Media[i], &o.Media[i]
		if was.MID == is.MID && was.Kind == is.Kind {
			continue
		}
		if !was.Rejected {
			return fmt.Errorf("%w: m-line", ErrOfferChanged)
		}
	}
	all := former.allExtensions()
	if err := merge(&all, o.allExtensions()); err != nil {
		return fmt.Errorf("%w: header extension ids", ErrOfferChanged)
	}
	var pts payloadTypes
	for _, offer := range []*Offer{former, o} {
		for i := range offer.Media {
			for _, c := range offer.Media[i].Codecs {
				err := pts.put(c.PT, c.Codec, 0)
				if err == nil && c.RTX != 0 {
					err = pts.put(c.RTX, packet.None, c.PT)
				}
				if err != nil {
					return fmt.Errorf("%w: payload types", ErrOfferChanged)
				}
			}
		}
	}
	return nil
}

// Restarts reports whether o asks for an ICE restart (RFC 8445 9).
func (o *Offer) Restarts(former *Offer) bool { return o.Remote != former.Remote }

func (o *Offer) allExtensions() packet.Extensions {
	all := o.Extensions
	for i := range o.Media {
		_ = merge(&all, o.Media[i].Outgoing)
	}
	return all
}
