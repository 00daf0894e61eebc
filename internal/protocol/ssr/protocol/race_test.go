//go:build race

package protocol

const racing = true // a sync.Pool loses things on purpose then
