package telemetry

import (
	"runtime"
	"runtime/debug"
)

// version is set by the linker: see the Makefile.
var version string

// Build says which build of Millrace this process is.
type Build struct {
	// Version is the release or, between releases, what git describe says; "unknown" when built without either.
	Version string `json:"version"`
	// Revision is the commit, empty when the build does not know it.
	Revision string `json:"revision,omitempty"`
	// Go is the version of the compiler, Platform the operating system and processor.
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// ReadBuild reads what the linker and the compiler left in the binary.
func ReadBuild() Build {
	build := Build{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, known := debug.ReadBuildInfo()
	if !known {
		return build
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			build.Revision = setting.Value
		}
	}
	if build.Version == "" && info.Main.Version != "(devel)" {
		build.Version = info.Main.Version // installed by `go install …@version`
	}
	if build.Version == "" {
		build.Version = "unknown"
	}
	return build
}
