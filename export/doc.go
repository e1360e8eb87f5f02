// Package export is the domain of Millrace, pure of I/O: what an export is, which intervals it has, how a run is
// cut into chunks, what a chunk yields, and what makes a run complete.
//
// The words are those of ARCHITECTURE.md. Everything here is data that travels as JSON through Temporal's history
// and lies at the destination, so field names are part of the format and never change meaning.
package export
