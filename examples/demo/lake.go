package main

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Lake is the bucket that the export writes to, seen by somebody who only knows how a run lies in it.
type Lake struct {
	client *s3.Client
	bucket string
}

// File is an object of the export.
type File struct {
	Key   string
	Bytes int64
}

// Manifest is as much of a run's manifest as a reader needs: which files belong to the run, and who wrote it.
type Manifest struct {
	Key  string `json:"-"`
	Rows int64  `json:"rows"`
	Run  struct {
		Start time.Time `json:"start"`
		End   time.Time `json:"end"`
	} `json:"run"`
	Receipts []struct {
		Location string `json:"location"` // below the export's prefix
		Rows     int64  `json:"rows"`
		Bytes    int64  `json:"bytes"`
	} `json:"receipts"`
	By struct {
		WorkflowID string `json:"workflow_id"`
		RunID      string `json:"run_id"`
	} `json:"by"`
}

func openLake(world World) *Lake {
	return &Lake{bucket: world.Bucket, client: s3.New(s3.Options{
		BaseEndpoint: aws.String(world.S3Endpoint),
		Region:       world.Region,
		UsePathStyle: true,
		Credentials:  credentials.NewStaticCredentialsProvider(world.AccessKeyID, world.SecretAccessKey, ""),
	})}
}

var (
	fileKey     = regexp.MustCompile(`^` + exportPrefix + `/` + exportName + `/[^/]+/[^/]+\.parquet$`)
	manifestKey = regexp.MustCompile(`^` + exportPrefix + `/_millrace/` + exportName + `/([^/]+)/r[0-9]+/manifest\.json$`)
)

// List finds all files and the keys of all manifests of the export, both sorted by time, as their keys do.
func (l *Lake) List(ctx context.Context) (files []File, manifests []string, err error) {
	pages := s3.NewListObjectsV2Paginator(l.client, &s3.ListObjectsV2Input{Bucket: &l.bucket, Prefix: aws.String(exportPrefix + "/")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("list the bucket: %w", err)
		}
		for _, object := range page.Contents {
			switch key := aws.ToString(object.Key); {
			case fileKey.MatchString(key):
				files = append(files, File{Key: key, Bytes: aws.ToInt64(object.Size)})
			case manifestKey.MatchString(key):
				manifests = append(manifests, key)
			}
		}
	}
	return files, manifests, nil
}

// Manifest reads one manifest.
func (l *Lake) Manifest(ctx context.Context, key string) (Manifest, error) {
	object, err := l.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &l.bucket, Key: &key})
	if err != nil {
		return Manifest{}, fmt.Errorf("read manifest %s: %w", key, err)
	}
	defer object.Body.Close()
	manifest := Manifest{Key: key}
	if err := json.NewDecoder(object.Body).Decode(&manifest); err != nil {
		return Manifest{}, fmt.Errorf("read manifest %s: %w", key, err)
	}
	return manifest, nil
}

// URL is an address from which a file can be read for some minutes without credentials.
func (l *Lake) URL(ctx context.Context, key string) (string, error) {
	signed, err := s3.NewPresignClient(l.client).PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &l.bucket, Key: &key}, s3.WithPresignExpires(10*time.Minute))
	if err != nil {
		return "", fmt.Errorf("sign the address of %s: %w", key, err)
	}
	return signed.URL, nil
}

// intervalKey is how the minute that ends at end is named in keys.
func intervalKey(end time.Time) string {
	const basic = "20060102T150405Z"
	return end.Add(-time.Minute).UTC().Format(basic) + "--" + end.UTC().Format(basic)
}

// missingMinutes are those of ends whose manifest is not among keys.
func missingMinutes(ends []time.Time, keys []string) []time.Time {
	have := map[string]bool{}
	for _, key := range keys {
		have[manifestKey.FindStringSubmatch(key)[1]] = true
	}
	var missing []time.Time
	for _, end := range ends {
		if !have[intervalKey(end)] {
			missing = append(missing, end)
		}
	}
	return missing
}

// checkFiles holds the files that are there against those that the manifests name: the same keys, the same sizes.
func checkFiles(files []File, manifests []Manifest) error {
	there := map[string]int64{}
	for _, file := range files {
		there[file.Key] = file.Bytes
	}
	for _, manifest := range manifests {
		for _, receipt := range manifest.Receipts {
			key := exportPrefix + "/" + receipt.Location
			bytes, found := there[key]
			switch {
			case !found:
				return fmt.Errorf("manifest %s names %s, which is not in the bucket", manifest.Key, key)
			case bytes != receipt.Bytes:
				return fmt.Errorf("manifest %s says that %s has %d bytes, it has %d", manifest.Key, key, receipt.Bytes, bytes)
			}
			delete(there, key)
		}
	}
	for key := range there {
		return fmt.Errorf("the bucket has %s, which no manifest names", key)
	}
	return nil
}
