package event

import (
	"fmt"
	"testing"
	"time"
)

func TestParseTime(t *testing.T) {
	want := time.Date(2026, 11, 23, 10, 30, 0, 0, time.UTC)
	for _, text := range []string{
		"2026-11-23T10:30:00Z", "2026-11-23T10:30:00.000Z", "2026-11-23T12:30:00+02:00", "2026-11-23T12:30:00+0200",
		"2026-11-23T12:30:00+02", "2026-11-23T10:30:00", "2026-11-23T10:30", "2026-11-23 10:30:00", "2026-11-23 10:30",
		"2026-11-23 12:30:00.000+02:00", "2026-11-23 12:30:00 +0200", "2026-11-23 10:30:00 UTC", "2026-11-23 12:30:00 +0200 CEST",
		"2026/11/23 10:30:00", "20261123T103000Z", "Mon, 23 Nov 2026 10:30:00 GMT", "Mon, 23 Nov 2026 12:30:00 +0200",
		" 2026-11-23T10:30:00Z\n", "1795429800", "1795429800000", "1795429800000000", "1795429800000000000", "1795429800.0",
	} {
		if got, ok := ParseTime(text); !ok || !got.Equal(want) {
			t.Errorf("ParseTime(%q) = %s, %t; want %s", text, got, ok, want)
		}
	}
	for text, want := range map[string]time.Time{
		"2026-11-23":                        time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC),
		"2026-11-23T10:30:00.123456789Z":    time.Date(2026, 11, 23, 10, 30, 0, 123456789, time.UTC),
		"2026-11-23 10:30:00,5":             time.Date(2026, 11, 23, 10, 30, 0, 500000000, time.UTC),
		"1795429800.123456":                 time.Date(2026, 11, 23, 10, 30, 0, 123456000, time.UTC),
		"1795429800123.5":                   time.Date(2026, 11, 23, 10, 30, 0, 123500000, time.UTC),
		"-1.5":                              time.Date(1969, 12, 31, 23, 59, 58, 500000000, time.UTC),
		"0":                                 time.Unix(0, 0),
		"2026-11-23 10:30:00.25 +0000 UTC":  time.Date(2026, 11, 23, 10, 30, 0, 250000000, time.UTC),
		"9999-12-31T23:59:59.999999999Z":    time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC),
		"2026-11-23T10:30:00.123456789123Z": time.Date(2026, 11, 23, 10, 30, 0, 123456789, time.UTC),
	} {
		if got, ok := ParseTime(text); !ok || !got.Equal(want) {
			t.Errorf("ParseTime(%q) = %s, %t; want %s", text, got, ok, want)
		}
	}
	for _, text := range []string{
		"", "yesterday", "02/03/2026", "2026-13-01", "2026-02-30T00:00:00Z", "1e99999999", "1e9", "NaN", "--1", "1.2.3", "-",
		"9999-12-31T23:59:59-01:00", "-99999999999", "99999999999999999999999999", "2026-11-23 10:30:00 CET", "Mon, 23 Nov 2026 10:30:00 PST",
	} {
		if got, ok := ParseTime(text); ok {
			t.Errorf("ParseTime(%q) = %s, want nothing", text, got)
		}
	}
}

func TestTimeOfAnEvent(t *testing.T) {
	now := received
	at := func(age time.Duration) time.Time { return now.Add(-age) }
	for _, c := range []struct {
		name, fields string
		sentAt, want time.Time
		used         bool
	}{
		{"none said", ``, time.Time{}, now, true},
		{"as the client says", `"timestamp":"2026-11-23T17:00:00.123456Z"`, time.Time{}, at(time.Hour), true},
		{"the client's clock an hour fast", `"timestamp":"2026-11-23T18:50:00.123456Z"`, now.Add(time.Hour), at(10 * time.Minute), true},
		{"years slow", `"timestamp":"1970-01-01T00:00:00Z"`, time.Unix(5, 0), at(5 * time.Second), true},
		{"correction turned off", `"properties":{"$ignore_sent_at":true},"timestamp":"2026-11-23T17:00:00.123456Z"`, now.Add(time.Hour), at(time.Hour), true},
		{"offset", `"offset":1500`, time.Time{}, at(1500 * time.Millisecond), true},
		{"offset as text", `"offset":"1500.5"`, now, at(1500500 * time.Microsecond), true},
		{"timestamp before offset", `"offset":1500,"timestamp":"2026-11-23T17:00:00.123456Z"`, time.Time{}, at(time.Hour), true},
		{"23 hours ahead", `"timestamp":"2026-11-24T17:00:00.123456Z"`, time.Time{}, at(-23 * time.Hour), true},
		{"more than 23 hours ahead", `"timestamp":"2026-11-24T17:00:00.123457Z"`, time.Time{}, now, false},
		{"absurd year", `"timestamp":"9999-01-01T00:00:00Z"`, time.Time{}, now, false},
		{"absurd year, corrected", `"timestamp":"9999-01-01T00:00:00Z"`, now, now, false},
		{"the zero time of Go", `"timestamp":"0001-01-01T00:00:00Z"`, now, now, false},
		{"before 1900", `"timestamp":"1899-12-31T23:59:59.999999Z"`, time.Time{}, now, false},
		{"1900", `"timestamp":"1900-01-01T00:00:00Z"`, time.Time{}, earliest, true},
		{"not a time", `"timestamp":"soon"`, now, now, false},
		{"an object", `"timestamp":{"a":1}`, now, now, false},
		{"absurd offset", `"offset":1e3`, now, now, false},
		{"offset of centuries", `"offset":99999999999999`, now, now, false},
	} {
		fields := c.fields
		if fields != "" {
			fields += ","
		}
		parsed, err := Parse(fmt.Appendf(nil, `{%s"event":"e","distinct_id":"d"}`, fields))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got, used := parsed.Time(now, c.sentAt); !got.Equal(c.want) || used != c.used {
			t.Errorf("%s: got %s, %t; want %s, %t", c.name, got, used, c.want, c.used)
		}
	}
}

// A row must not depend on the machine that reads the message.
func TestTimesDoNotDependOnTheLocalZone(t *testing.T) {
	local := time.Local
	t.Cleanup(func() { time.Local = local })
	time.Local = time.FixedZone("CET", 3600)
	if got, ok := ParseTime("2026-11-23 10:30:00 CET"); ok {
		t.Errorf("read as %s", got)
	}
	if got, _ := ParseTime("2026-11-23 10:30:00"); !got.Equal(time.Date(2026, 11, 23, 10, 30, 0, 0, time.UTC)) {
		t.Errorf("without a zone it is %s, want UTC", got)
	}
}
