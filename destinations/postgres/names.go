package postgres

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/millrace/millrace/export"
)

// runName is a run as marks on staging tables have it.
func runName(run export.Run) string {
	return fmt.Sprintf("%s/%s/r%04d", run.Export, run.Interval.Key(), run.Revision)
}

const stagingPrefix = ownPrefix + "staging_"

// newStaging is the name of a staging table that no other attempt ever has.
func newStaging() string { return stagingPrefix + strings.ToLower(rand.Text()) }

// isStaging tells names that newStaging makes from all others, so that a damaged receipt cannot name a user's table.
func isStaging(name string) bool {
	token, found := strings.CutPrefix(name, stagingPrefix)
	return found && len(token) == len(rand.Text()) && strings.Trim(token, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

func fingerprint(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}
