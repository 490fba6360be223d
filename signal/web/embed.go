//go:build !testhooks

package web

import "embed"

// The bundle is generated, not committed: README.md alone keeps the folder.
//
//go:embed all:dist
var dist embed.FS

const distFolder = "dist"
