package room

import "sotto/e2ee/sframe"

// ParseSource maps the name that signaling uses to the SFrame context.
func ParseSource(name string) (sframe.Context, bool) {
	switch name {
	case "mic":
		return sframe.Microphone, true
	case "camera":
		return sframe.Camera, true
	case "screen":
		return sframe.Screen, true
	case "screen_audio":
		return sframe.ScreenAudio, true
	}
	return 0, false
}
