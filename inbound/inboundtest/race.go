//go:build race

package inboundtest

// flights is how many garbage connections the suite makes: enough for the race detector. The number that
// counts is that of the run without it.
const flights = 2_000
