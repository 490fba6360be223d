package protocol

import (
	"errors"
	"strings"
	"testing"
)

// The error of a request repeats its id, also when the request breaks a rule, so that who asked need not wait.
func TestDecode_errorNamesTheRequest(t *testing.T) {
	for name, text := range map[string]string{
		"offer without SDP": `{"type":"offer","id":7,"sdp":"","tracks":[]}`,
		"offer of long SDP": `{"type":"offer","id":7,"tracks":[],"sdp":"` + strings.Repeat("a", MaxSDP+1) + `"}`,
		"want of one twice": `{"type":"want","id":7,"tracks":[{"conn_id":"UFFSU1RVVldYWVpbXF1eXw","source":"mic"},{"conn_id":"UFFSU1RVVldYWVpbXF1eXw","source":"mic"}]}`,
	} {
		_, err := DecodeClient([]byte(text))
		var refused *DecodeError
		if !errors.As(err, &refused) || refused.ID == nil || *refused.ID != 7 {
			t.Errorf("%s: %#v", name, err)
		}
	}
	_, err := DecodeClient([]byte(`{"type":"want","tracks":[{"conn_id":"UFFSU1RVVldYWVpbXF1eXw","source":"mic","height":9000}]}`))
	var refused *DecodeError
	if !errors.As(err, &refused) || refused.ID != nil {
		t.Errorf("a request without id: %#v", err)
	}
}
