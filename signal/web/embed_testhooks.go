//go:build testhooks

package web

import "embed"

// The bundle with the test hooks compiled in; never in a released binary.
//
//go:embed all:dist-testhooks
var dist embed.FS

const distFolder = "dist-testhooks"
