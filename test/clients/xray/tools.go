//go:build tools

// Package tools pins the real Xray that the client tests drive.
package tools

import _ "github.com/xtls/xray-core/main"
