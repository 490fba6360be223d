package web

import (
	"net/http"
	"strings"
)

// contentSecurityPolicy lets the page load nothing but its own files, run no
// inline script, and talk to nobody but its own host; 'self' in connect-src
// covers the WebSocket of that host (CSP Level 3). Strings
// reach script URLs only through the one Trusted Types policy that makes the
// worker's.
const contentSecurityPolicy = "default-src 'none'; " +
	"script-src 'self' 'wasm-unsafe-eval'; " +
	"worker-src 'self'; " +
	"connect-src 'self'; " +
	"img-src 'self' blob: data:; " +
	"media-src 'self' blob:; " +
	"style-src 'self'; " +
	"base-uri 'none'; " +
	"form-action 'none'; " +
	"frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'; " +
	"trusted-types sotto"

// permissionsPolicy gives the page what a call needs, frames nothing, and
// switches off what the page never uses.
const permissionsPolicy = "camera=(self), microphone=(self), display-capture=(self), " +
	"speaker-selection=(self), fullscreen=(self), picture-in-picture=(self), " +
	"screen-wake-lock=(self), clipboard-write=(self), autoplay=(self), " +
	"accelerometer=(), clipboard-read=(), geolocation=(), gyroscope=(), hid=(), " +
	"identity-credentials-get=(), idle-detection=(), local-fonts=(), magnetometer=(), midi=(), " +
	"payment=(), publickey-credentials-get=(), serial=(), usb=(), window-management=(), " +
	"xr-spatial-tracking=()"

// secure sets the headers that every response carries, errors too.
func secure(h http.Header, r *http.Request) {
	h.Set("Content-Security-Policy", contentSecurityPolicy)
	h.Set("Permissions-Policy", permissionsPolicy)
	h.Set("Referrer-Policy", "no-referrer") // the path of a room is in it
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY") // for browsers without frame-ancestors
	// Isolated from every other site, in its own process.
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Embedder-Policy", "require-corp")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Origin-Agent-Cluster", "?1")
	if overTLS(r) {
		h.Set("Strict-Transport-Security", "max-age=63072000; includeSubDomains")
	}
}

// overTLS reports whether the browser came over TLS, here or at a proxy. A
// client that forges the header harms nobody: browsers ignore HSTS that comes
// in clear (RFC 6797 section 8.1).
func overTLS(r *http.Request) bool {
	return r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}
