//go:build race

package inboundtest

// flights is how many garbage connections the suite makes: enough for the race detector. The number that
// counts is that of the run without it.
const flights = 2_000

// cuts is in how many places the suite splits a header about.
const cuts = 100
