//go:build world

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// TestBothReadersFindExactlyWhatLiesInTheBucket has ClickHouse write the demo's events into two files, as an export
// does, and reads them in both ways.
func TestBothReadersFindExactlyWhatLiesInTheBucket(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	world, err := readWorld()
	if err != nil {
		t.Fatal(err)
	}
	world.Bucket = fmt.Sprintf("demo-%08x", rand.Uint32())
	lake := openLake(world)
	if _, err := lake.client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &world.Bucket}); err != nil {
		t.Fatal(err)
	}
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir("../..")
	if err := install(ctx, &Progress{out: t.Output(), began: time.Now()}); err != nil {
		t.Fatal(err)
	}

	rows, totals, err := wanted(captures(someFlights(3000), strangeCaptures()))
	if err != nil {
		t.Fatal(err)
	}
	half := len(rows) / 2
	keys := []string{"20261123T175900Z--20261123T180000Z", "20261123T180000Z--20261123T180100Z"}
	writeFile(t, world, keys[0], rows[:half])
	writeFile(t, world, keys[1], rows[half:])

	files, manifests, err := lake.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 2 || len(manifests) != 0 || files[0].Bytes == 0 {
		t.Fatalf("the bucket has %v and %v", files, manifests)
	}
	script := root + "/hyparquet.mjs"
	for _, reader := range []Reader{
		clickhouseReader{world: world, glob: exportPrefix + "/" + exportName + "/*/*.parquet"},
		hyparquetReader{lake: lake, files: files, script: script},
	} {
		comparison, err := compare(ctx, reader, rows, totals)
		if err != nil {
			t.Fatal(err)
		}
		if !comparison.OK() || comparison.Strange != len(strangeCaptures()) {
			t.Errorf("%+v", comparison)
		}
	}

	// A file that misses rows and one that is cut off do not pass.
	comparison, err := compare(ctx, hyparquetReader{lake: lake, files: files[:1], script: script}, rows, totals)
	if err != nil || comparison.OK() || comparison.Missing != len(rows)-half {
		t.Errorf("half of the rows: %v, %d missing of %d", err, comparison.Missing, len(rows)-half)
	}
	cut := []File{{Key: files[0].Key, Bytes: files[0].Bytes - 1}}
	if _, err := compare(ctx, hyparquetReader{lake: lake, files: cut, script: script}, rows, totals); err == nil {
		t.Error("a file that is cut off passes")
	}
}

// writeFile has ClickHouse write rows as Parquet, with the types of the events table.
func writeFile(t *testing.T, world World, interval string, rows []Row) {
	t.Helper()
	var lines strings.Builder
	for _, row := range rows {
		line, err := json.Marshal([]any{row.UUID, row.Event, row.DistinctID, row.Micros, row.Properties})
		if err != nil {
			t.Fatal(err)
		}
		lines.Write(append(line, '\n'))
	}
	address := world.S3Endpoint + "/" + world.Bucket + "/" + exportPrefix + "/" + exportName + "/" + interval + "/r0001-00000.parquet"
	body, err := world.query(t.Context(), `INSERT INTO FUNCTION s3({url:String}, {id:String}, {secret:String}, 'Parquet')
		SELECT toUUID(id) AS uuid, event, distinct_id, fromUnixTimestamp64Micro(micros, 'UTC') AS timestamp, properties
		FROM input('id String, event String, distinct_id String, micros Int64, properties String')
		SETTINGS output_format_parquet_compression_method = 'zstd', output_format_parquet_string_as_string = 1
		FORMAT JSONCompactEachRow `+lines.String(), map[string]string{
		"url": address, "id": world.AccessKeyID, "secret": world.SecretAccessKey,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if _, err := io.ReadAll(body); err != nil {
		t.Fatal(err)
	}
}
