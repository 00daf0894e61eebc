//go:build !race

package protocol

const racing = false
