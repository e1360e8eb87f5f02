package folder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/millrace/millrace/export"
)

// codes is the table of what the file system says, by the names of errno.
var codes = export.Codes{
	"EACCES":       export.KindPermission.Means("the worker's user may not do this: give him the folder"),
	"EPERM":        export.KindPermission.Means("the worker's user may not do this: give him the folder"),
	"EROFS":        export.KindPermission.Means("the file system is read-only"),
	"ENOENT":       export.KindNotFound.Means("the folder is not there: make it, or correct path in the connection"),
	"ENOTDIR":      export.KindConfig.Means("a file stands where a folder is needed: choose another path"),
	"ENAMETOOLONG": export.KindConfig.Means("the path is too long: choose a shorter one"),
	"ENOSPC":       export.KindQuota.Means("the disk is full: make room"),
	"EDQUOT":       export.KindQuota.Means("the user's quota is used up: make room"),
}

var names = map[syscall.Errno]string{
	syscall.EACCES: "EACCES", syscall.EPERM: "EPERM", syscall.EROFS: "EROFS", syscall.ENOENT: "ENOENT", syscall.ENOTDIR: "ENOTDIR",
	syscall.ENAMETOOLONG: "ENAMETOOLONG", syscall.ENOSPC: "ENOSPC", syscall.EDQUOT: "EDQUOT",
}

// explain gives an error its kind, by its code, and says what was tried.
func (d *Destination) explain(ctx context.Context, act string, err error) error {
	if err == nil {
		return nil
	}
	if cause := ctx.Err(); cause != nil { // whatever else went wrong came of it
		return export.Errorf(export.KindCancelled, "%s: %w", act, cause)
	}
	var classified *export.Error
	if errors.As(err, &classified) {
		return fmt.Errorf("%s: %w", act, err)
	}
	var number syscall.Errno
	errors.As(err, &number)
	found, known := codes.Judge(names[number], 0)
	if !known {
		found = export.KindDestinationUnavailable.Means("the disk does not do what it is asked: " + export.TryAgain)
	}
	return export.Errorf(found.Kind, "%s: folder %s: %s", act, d.root, found.Text)
}

// failing tells errors of the source, which have no kind in the middle of a stream, from those of the disk.
type failing struct{ io.Reader }

func (f failing) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	var classified *export.Error
	if err != nil && !errors.Is(err, io.EOF) && !errors.As(err, &classified) {
		err = export.Errorf(export.KindSourceUnavailable, "read the source: %w", err)
	}
	return n, err
}
