package s3

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/millrace/millrace/export"
)

// keyTemplate is how a chunk's key is made of its run, below the export's prefix and without the file's extension:
//
//	dt={date}/hour={hour}/{export}-{interval}-r{revision}-{chunk}
//
// Plans and manifests do not go by it: they are found by whoever knows the run alone.
type keyTemplate string

// defaultKey is what is written without a template.
const defaultKey keyTemplate = "{export}/{interval}/r{revision}-{chunk}"

// placeholders and what each is, as a pattern. All but {export} are of one width, so no two runs or chunks make one key:
// the length of a key tells that of {export}, and then everything stands in its place.
var placeholders = []struct{ name, pattern string }{
	{"{export}", `[a-z0-9-]+`},
	{"{interval}", instantPattern + "--" + instantPattern},
	{"{start}", instantPattern},
	{"{end}", instantPattern},
	{"{date}", `\d{4}-\d{2}-\d{2}`},
	{"{year}", `\d{4}`},
	{"{month}", `\d{2}`},
	{"{day}", `\d{2}`},
	{"{hour}", `\d{2}`},
	{"{minute}", `\d{2}`},
	{"{revision}", `\d{4}`},
	{"{chunk}", `\d{5}`},
}

const instantPattern = `\d{8}T\d{6}Z`

var braces = regexp.MustCompile(`\{[^{}]*\}`)

// fill makes the key of a chunk, in UTC.
func (k keyTemplate) fill(run export.Run, chunk int) string {
	start, end, _ := strings.Cut(run.Interval.Key(), "--")
	from := run.Start.UTC()
	return strings.NewReplacer(
		"{export}", run.Export, "{interval}", run.Interval.Key(), "{start}", start, "{end}", end,
		"{date}", from.Format("2006-01-02"), "{year}", from.Format("2006"), "{month}", from.Format("01"),
		"{day}", from.Format("02"), "{hour}", from.Format("15"), "{minute}", from.Format("04"),
		"{revision}", fmt.Sprintf("%04d", run.Revision), "{chunk}", fmt.Sprintf("%05d", chunk),
	).Replace(string(k))
}

// pattern matches what the template makes; of one export, or of all when it is "".
func (k keyTemplate) pattern(of string) string {
	var made strings.Builder
	rest := string(k)
	for _, at := range braces.FindAllString(rest, -1) {
		before, after, _ := strings.Cut(rest, at)
		made.WriteString(regexp.QuoteMeta(before))
		i := slices.IndexFunc(placeholders, func(p struct{ name, pattern string }) bool { return p.name == at })
		switch {
		case at == "{export}" && of != "":
			made.WriteString(regexp.QuoteMeta(of))
		case i >= 0:
			made.WriteString(placeholders[i].pattern)
		}
		rest = after
	}
	return made.String() + regexp.QuoteMeta(rest)
}

// folder is how every key of an export begins, as far as all of them begin alike.
func (k keyTemplate) folder(of string) string {
	named := strings.ReplaceAll(string(k), "{export}", of)
	alike, _, _ := strings.Cut(named, "{")
	return alike
}

// makes tells whether a key below the prefix, whatever its extension, is one of the export's.
func (k keyTemplate) makes(of, key string) bool {
	matched, err := regexp.MatchString("^"+k.pattern(of)+`(\.[a-z0-9]+)+$`, key)
	return err == nil && matched
}

// validate refuses what would not be a key, not be one chunk's alone, or lie among the marks.
func (k keyTemplate) validate(prefix string) error {
	refuse := func(format string, args ...any) error {
		return export.Errorf(export.KindConfig, "key: %q %s", k, fmt.Sprintf(format, args...))
	}
	var known []string
	for _, p := range placeholders {
		known = append(known, p.name)
	}
	for _, at := range braces.FindAllString(string(k), -1) {
		if !slices.Contains(known, at) {
			return refuse("has %s, which is not known: use %s", at, strings.Join(known, ", "))
		}
	}
	if strings.ContainsAny(braces.ReplaceAllString(string(k), ""), "{}") {
		return refuse("has a brace without its other: use %s", strings.Join(known, ", "))
	}
	has := func(name string) bool { return strings.Contains(string(k), name) }
	switch {
	case !has("{export}"):
		return refuse("has no {export}: two exports could have one key; put it in, as in %q", defaultKey)
	case !has("{interval}") && !(has("{start}") && has("{end}")):
		return refuse("has no {interval}, nor {start} and {end}: two intervals could have one key, whatever other parts of a time are in it; put it in, as in %q", defaultKey)
	case !has("{revision}"):
		return refuse("has no {revision}: a run that is done again would find the key taken; put it in, as in %q", defaultKey)
	case !has("{chunk}"):
		return refuse("has no {chunk}: the files of a run would have one key; put it in, as in %q", defaultKey)
	}
	return k.validateNames(prefix, refuse)
}

func (k keyTemplate) validateNames(prefix string, refuse func(string, ...any) error) error {
	if strings.ContainsFunc(string(k), unfitForKeys) {
		return refuse("has a backslash, a control character or broken UTF-8: use plain names, separated by /")
	}
	for _, name := range strings.Split(string(k), "/") {
		switch name {
		case "", ".", "..":
			return refuse("has %q between slashes: use plain names, separated by single slashes", name)
		}
		if leads, err := regexp.MatchString("^"+keyTemplate(name).pattern("")+"$", marksName); err != nil || leads {
			return refuse("leads into %q, where plans and manifests are kept: use another name", marksName)
		}
	}
	// A name has at most 63 characters; an extension such as .jsonl.zst less than 20.
	longest := len(path.Join(prefix, k.fill(export.Run{Export: strings.Repeat("x", 63), Revision: 1}, 0))) + 20
	if longest > maxKey {
		return refuse("makes keys of up to %d bytes with the prefix: use at most %d", longest, maxKey)
	}
	return nil
}

// maxKey is how long a key may be in S3, in bytes.
const maxKey = 1024
