//go:build world

package promises

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

// A build that writes the manifest before it has proved the files publishes one that is gone. Not parallel, for the switch is
// the process's.
func TestAManifestBeforeItsProofNamesAFileThatIsGone(tt *testing.T) {
	t := newThread(tt)
	t.loadThreeTeams()
	t.work()
	t.tamper.do(nil, func(key string) {
		if strings.Contains(key, "/r0001-00001.") {
			if _, err := t.s3.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &t.bucket, Key: aws.String(key)}); err != nil {
				t.Error(err)
			}
		}
	}, nil)
	// missing are the files that published manifests name and that are not there, by export.
	missing := func(name string) (files []string, published bool) {
		objects := t.objects()
		for _, key := range ending(objects, "/manifest.json") {
			if !strings.Contains(key, "/"+name+"/") || strings.Contains(string(t.read(key)), `"closed"`) {
				continue
			}
			published = true
			for _, receipt := range t.manifest(key).Receipts {
				if objects["events/"+receipt.Location] == "" {
					files = append(files, receipt.Location)
				}
			}
		}
		return files, published
	}
	run := func(name string) []string {
		started, err := t.starter.Start(t.Context(), tampered(name, export.ProofReadback), hour(0))
		if err != nil {
			t.Fatal(err)
		}
		// How it ends does not matter: readers go by the manifest.
		_ = t.Client.GetWorkflow(t.Context(), started.WorkflowID, started.RunID).Get(t.Context(), nil)
		files, published := missing(name)
		if !published {
			t.Fatalf("%s: nothing is published", name)
		}
		return files
	}
	if files := run("proved-first"); len(files) != 0 {
		t.Errorf("a manifest names %v, which are gone", files)
	}
	disarm, err := failpoint.Arm("activities.manifest.first=on")
	if err != nil {
		t.Fatal(err)
	}
	defer disarm()
	if files := run("manifest-first"); len(files) == 0 {
		t.Error("nobody would notice: no file is missing")
	}
}
