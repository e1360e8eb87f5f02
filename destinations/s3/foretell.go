package s3

import (
	"context"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// Foretell says what the files would be; see destinations.Foretells. Their columns are of ClickHouse's types, as it writes them
// in the format. It asks nobody.
func (d *Destination) Foretell(context.Context) destinations.Foretold {
	place := "s3://" + d.place.bucket + "/"
	if d.prefix != "" {
		place += d.prefix + "/"
	}
	return destinations.Foretold{
		Place: "files below " + place, Encoding: d.encoding, MaxFile: d.maxFile,
		Columns: destinations.Placed(d.columns, func(c export.Column) string { return c.Type }),
	}
}
