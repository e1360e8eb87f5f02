package s3

import (
	"encoding/json"
	"testing"

	"pgregory.net/rapid"

	"github.com/millrace/millrace/export"
)

func TestSettingsGetTheirDefaults(t *testing.T) {
	for _, test := range []struct{ block, want string }{
		{``, `{"prefix":"","format":"parquet","compression":"zstd"}`},
		{`{}`, `{"prefix":"","format":"parquet","compression":"zstd"}`},
		{`null`, `{"prefix":"","format":"parquet","compression":"zstd"}`},
		{`{"key": "/{export}/{interval}/r{revision}-{chunk}"}`, `{"prefix":"","format":"parquet","compression":"zstd"}`},
		{`{"key": "dt={date}/{export}-{interval}-r{revision}-{chunk}"}`, `{"prefix":"","format":"parquet","compression":"zstd","key":"dt={date}/{export}-{interval}-r{revision}-{chunk}"}`},
		{`{"max_file_size": "1024KiB"}`, `{"prefix":"","format":"parquet","compression":"zstd","max_file_size":"1MiB"}`},
		{`{"max_file_size": "1500KiB"}`, `{"prefix":"","format":"parquet","compression":"zstd","max_file_size":"1500KiB"}`},
		{`{"prefix": "/events/eu/"}`, `{"prefix":"events/eu","format":"parquet","compression":"zstd"}`},
		{`{"format": "csv"}`, `{"prefix":"","format":"csv","compression":"zstd"}`},
		{`{"format": "arrow", "compression": "lz4"}`, `{"prefix":"","format":"arrow","compression":"lz4"}`},
		{`{"prefix": "events", "format": "jsoneachrow", "compression": "gzip"}`, `{"prefix":"events","format":"jsoneachrow","compression":"gzip"}`},
	} {
		got, err := normalizeSettings(json.RawMessage(test.block))
		if err != nil || string(got) != test.want {
			t.Errorf("%s: got %s (%v), want %s", test.block, got, err, test.want)
		}
	}
}

func TestSettingsThatAreWrongAreNamed(t *testing.T) {
	for _, test := range []struct{ block, want string }{
		{`{"prefx": "events"}`, `unknown field "prefx": the fields are prefix, format, compression, key, max_file_size`},
		{`{"Prefix": "events"}`, `unknown field "Prefix": the fields are prefix, format, compression, key, max_file_size`},
		{`[]`, `the block is not a JSON object: its fields are prefix, format, compression, key, max_file_size`},
		{`{"key": "{export}/{day}/r{revision}-{chunk}"}`, `key: "{export}/{day}/r{revision}-{chunk}" has no {interval}, nor {start} and {end}: two intervals could have one key, whatever other parts of a time are in it; put it in, as in "{export}/{interval}/r{revision}-{chunk}"`},
		{`{"key": "{export}/{start}/r{revision}-{chunk}"}`, `key: "{export}/{start}/r{revision}-{chunk}" has no {interval}, nor {start} and {end}: two intervals could have one key, whatever other parts of a time are in it; put it in, as in "{export}/{interval}/r{revision}-{chunk}"`},
		{`{"key": "{interval}/r{revision}-{chunk}"}`, `key: "{interval}/r{revision}-{chunk}" has no {export}: two exports could have one key; put it in, as in "{export}/{interval}/r{revision}-{chunk}"`},
		{`{"key": "{export}/{interval}-{chunk}"}`, `key: "{export}/{interval}-{chunk}" has no {revision}: a run that is done again would find the key taken; put it in, as in "{export}/{interval}/r{revision}-{chunk}"`},
		{`{"key": "{export}/{interval}-{revision}"}`, `key: "{export}/{interval}-{revision}" has no {chunk}: the files of a run would have one key; put it in, as in "{export}/{interval}/r{revision}-{chunk}"`},
		{`{"max_file_size": 512}`, `max_file_size: 512 is not a size: give it as "512MiB", with KiB, MiB or GiB`},
		{`{"max_file_size": "512MB"}`, `max_file_size: "512MB" is not a size: give it as "512MiB", with KiB, MiB or GiB`},
		{`{"max_file_size": "1KiB"}`, `max_file_size: "1KiB" must be from 64KiB to 100GiB`},
		{`{"max_file_size": "101GiB"}`, `max_file_size: "101GiB" must be from 64KiB to 100GiB`},
		{`{"key": "{export}/{week}"}`, `key: "{export}/{week}" has {week}, which is not known: use {export}, {interval}, {start}, {end}, {date}, {year}, {month}, {day}, {hour}, {minute}, {revision}, {chunk}`},
		{`{"key": "{export}/{interval}/{"}`, `key: "{export}/{interval}/{" has a brace without its other: use {export}, {interval}, {start}, {end}, {date}, {year}, {month}, {day}, {hour}, {minute}, {revision}, {chunk}`},
		{`{"key": "_mill{export}/{interval}/r{revision}-{chunk}"}`, `key: "_mill{export}/{interval}/r{revision}-{chunk}" leads into "_millrace", where plans and manifests are kept: use another name`},
		{`{"key": "a//{export}{interval}{revision}{chunk}"}`, `key: "a//{export}{interval}{revision}{chunk}" has "" between slashes: use plain names, separated by single slashes`},
		{`{"key": "..\\{export}{interval}{revision}{chunk}"}`, `key: "..\\{export}{interval}{revision}{chunk}" has a backslash, a control character or broken UTF-8: use plain names, separated by /`},
		{`{"prefix": 7}`, `prefix: is a number, and must be a string`},
		{`{"format": "orc"}`, `format: "orc" is unknown: use parquet, jsoneachrow, csv or arrow`},
		{`{"format": "tabseparated", "compression": "none"}`, `format: "tabseparated" is for databases: use parquet, jsoneachrow, csv or arrow`},
		{`{"format": "csv", "compression": "snappy"}`, `compression: "snappy" is unknown for csv: use none, gzip or zstd`},
		{`{"format": "arrow", "compression": "gzip"}`, `compression: "gzip" is unknown for arrow: use none, lz4 or zstd`},
		{`{"compression": "brotli"}`, `compression: "brotli" is unknown for parquet: use none, snappy, lz4, zstd or gzip`},
		{`{"format": "jsoneachrow", "compression": "lz4"}`, `compression: "lz4" is unknown for jsoneachrow: use none, gzip or zstd`},
		{`{"prefix": "a//b"}`, `prefix: "a//b" has "" between slashes: use plain names, separated by single slashes`},
		{`{"prefix": "a/../b"}`, `prefix: "a/../b" has ".." between slashes: use plain names, separated by single slashes`},
		{`{"prefix": "a/_millrace"}`, `prefix: "a/_millrace" has "_millrace" in it, where plans and manifests are kept: use another name`},
		{`{"prefix": "a\\b"}`, `prefix: "a\\b" has a backslash, a control character or broken UTF-8: use plain names, separated by /`},
	} {
		_, err := normalizeSettings(json.RawMessage(test.block))
		wantConfigError(t, test.block, err, test.want)
	}
}

func wantConfigError(t *testing.T, block string, err error, want string) {
	t.Helper()
	if err == nil || err.Error() != want || export.KindOf(err) != export.KindConfig {
		t.Errorf("%s:\ngot  %v (%s)\nwant %s", block, err, export.KindOf(err), want)
	}
}

// Equal definitions must have equal hashes, so a normal form is its own normal form.
func TestNormalFormsAreStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		block, err := json.Marshal(map[string]string{"prefix": rapid.StringMatching(`/?[a-z0-9=_. -]{1,8}(/[a-z0-9]{1,8}){0,3}/?`).Draw(t, "prefix")})
		if err != nil {
			t.Fatal(err)
		}
		once, err := normalizeSettings(block)
		if err != nil {
			return
		}
		if twice, err := normalizeSettings(once); err != nil || string(twice) != string(once) {
			t.Fatalf("%s becomes %s, and then %s (%v)", block, once, twice, err)
		}
	})
}

func TestConnectionsGetTheirDefaults(t *testing.T) {
	for _, test := range []struct{ block, want string }{
		{`{"bucket": "lake", "region": "eu-west-1"}`, `{"bucket":"lake","region":"eu-west-1","path_style":false}`},
		{`{"bucket": "lake", "endpoint": "http://127.0.0.1:9000"}`, `{"bucket":"lake","region":"us-east-1","endpoint":"http://127.0.0.1:9000","path_style":true}`},
		{`{"bucket": "lake", "region": "eu-west-1", "encryption": {"type": "sse-kms", "key": "env:KEY", "bucket_key": true}}`,
			`{"bucket":"lake","region":"eu-west-1","path_style":false,"encryption":{"type":"sse-kms","key":"env:KEY","bucket_key":true}}`},
		{`{"bucket": "lake", "region": "eu-west-1", "profile": "lake", "role_arn": "arn:aws:iam::111122223333:role/exporter", "external_id": "env:ID"}`,
			`{"bucket":"lake","region":"eu-west-1","profile":"lake","role_arn":"arn:aws:iam::111122223333:role/exporter","external_id":"env:ID","path_style":false}`},
		{`{"bucket": "lake", "region": "eu-west-1", "encryption": null}`, `{"bucket":"lake","region":"eu-west-1","path_style":false}`},
		{`{"bucket": "lake", "endpoint": "https://s3.example.com", "path_style": false}`, `{"bucket":"lake","region":"us-east-1","endpoint":"https://s3.example.com","path_style":false}`},
		{`{"bucket": "env:BUCKET", "endpoint": "env:ENDPOINT", "access_key_id": "env:ID", "secret_access_key": "file:secret"}`,
			`{"bucket":"env:BUCKET","region":"us-east-1","endpoint":"env:ENDPOINT","access_key_id":"env:ID","secret_access_key":"file:secret","path_style":true}`},
	} {
		got, err := normalizeConnection(json.RawMessage(test.block))
		if err != nil || string(got) != test.want {
			t.Errorf("%s:\ngot  %s (%v)\nwant %s", test.block, got, err, test.want)
		}
	}
}

func TestConnectionsThatAreWrongAreNamed(t *testing.T) {
	const fields = "bucket, region, endpoint, access_key_id, secret_access_key, session_token, profile, role_arn, external_id, sts_endpoint, path_style, encryption"
	for _, test := range []struct{ block, want string }{
		{`{}`, `bucket is missing: name the bucket that the files go to`},
		{`{"bucket": "lake", "secret": "hunter2"}`, `unknown field "secret": the fields are ` + fields},
		{`"hunter2"`, `the block is not a JSON object: its fields are ` + fields},
		{`{"bucket": "s3://lake/events"}`, `bucket: "s3://lake/events" is not a bucket's name: give the name alone, such as "lake"; folders go into the export's prefix`},
		{`{"bucket": "lake", "access_key_id": "a"}`, `access_key_id is given without secret_access_key: give both, or neither for the AWS default credentials`},
		{`{"bucket": "lake", "secret_access_key": "hunter2"}`, `secret_access_key is given without access_key_id: give both, or neither for the AWS default credentials`},
		{`{"bucket": "lake", "session_token": "hunter2"}`, `session_token is given without access_key_id and secret_access_key: give all three`},
		{`{"bucket": "lake", "endpoint": "minio:9000"}`, `endpoint: "minio:9000" is not an address: give it as https://host or http://host:port`},
		{`{"bucket": "lake", "endpoint": "http://me:hunter2@minio"}`, `endpoint: has a user in it: put the keys into access_key_id and secret_access_key`},
		{`{"bucket": "lake", "endpoint": "http://minio/lake"}`, `endpoint: "http://minio/lake" has more than scheme, host and port: the bucket goes into bucket, folders into the export's prefix`},
		{`{"bucket": "lake", "profile": "lake", "access_key_id": "a", "secret_access_key": "hunter2"}`, `profile: "lake" is given beside access_key_id: give one of the two`},
		{`{"bucket": "lake", "role_arn": "exporter"}`, `role_arn: "exporter" is not a role's: give it as arn:aws:iam::111122223333:role/name`},
		{`{"bucket": "lake", "external_id": "x"}`, `external_id is given without role_arn, which alone asks for it: give both, or neither`},
		{`{"bucket": "lake", "sts_endpoint": "https://sts.example.com"}`, `sts_endpoint: "https://sts.example.com" is given without role_arn, which alone is asked for there: give both, or neither`},
		{`{"bucket": "lake", "role_arn": "arn:aws:iam::111122223333:role/exporter", "sts_endpoint": "sts"}`, `sts_endpoint: "sts" is not an address: give it as https://host or http://host:port`},
		{`{"bucket": "lake", "encryption": {"type": "aes"}}`, `encryption: type: "aes" is unknown: use sse-s3 or sse-kms`},
		{`{"bucket": "lake", "encryption": {}}`, `encryption: type is missing: use sse-s3 or sse-kms, or leave out encryption for what the bucket has set`},
		{`{"bucket": "lake", "encryption": "sse-s3"}`, `encryption: the block is not a JSON object: its fields are type, key, bucket_key`},
		{`{"bucket": "lake", "encryption": {"type": "sse-kms", "kye": "k"}}`, `encryption: unknown field "kye": the fields are type, key, bucket_key`},
		{`{"bucket": "lake", "encryption": {"type": "sse-s3", "key": "k"}}`, `encryption: key: "k" is given with sse-s3, which has keys of its own: leave it out, or use sse-kms`},
		{`{"bucket": "lake", "encryption": {"type": "sse-s3", "bucket_key": true}}`, `encryption: bucket_key: true is given with sse-s3, which asks no key service: leave it out, or use sse-kms`},
		{`{"bucket": "lake", "path_style": "yes"}`, `path_style: is a string, and must be a bool`},
	} {
		_, err := normalizeConnection(json.RawMessage(test.block))
		wantConfigError(t, test.block, err, test.want)
	}
}
