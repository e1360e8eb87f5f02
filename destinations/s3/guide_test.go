package s3

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/millrace/millrace/export"
)

// guideBlock gives the JSON block of the guide that has a word in it.
func guideBlock(t *testing.T, word string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/destinations-s3.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range strings.Split(string(page), "```json\n")[1:] {
		if text, _, closed := strings.Cut(block, "```"); closed && strings.Contains(text, word) {
			return text
		}
	}
	t.Fatalf("the guide has no JSON with %s", word)
	return ""
}

// No store here takes this rule (MinIO ends uploads by a setting of its own), so it is held against Amazon's own types. It
// must leave alone what a run may still be at.
func TestTheGuidesLifecycleRuleIsOne(t *testing.T) {
	var rules types.BucketLifecycleConfiguration
	strict := json.NewDecoder(strings.NewReader(guideBlock(t, "AbortIncompleteMultipartUpload")))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&rules); err != nil {
		t.Fatal(err)
	}
	if len(rules.Rules) != 1 || rules.Rules[0].Status != types.ExpirationStatusEnabled {
		t.Fatalf("the rules are %+v", rules.Rules)
	}
	days := time.Duration(*rules.Rules[0].AbortIncompleteMultipartUpload.DaysAfterInitiation) * 24 * time.Hour
	if days <= time.Duration(export.DefaultGiveUpAfter) {
		t.Errorf("it ends uploads after %s, and runs give up after %s", days, export.DefaultGiveUpAfter)
	}
}
