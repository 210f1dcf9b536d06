// Command deb writes the Debian package that nfpm.yaml describes. It runs in this folder and does
// not build the program.
//
//	ARCH=amd64 VERSION=1.2.3 DIST=../../dist go run . FILE.deb
package main

import (
	"fmt"
	"os"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/deb"
)

func main() {
	if err := write(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// write writes the package into the file that args name.
func write(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: go run . FILE.deb")
	}
	config, err := nfpm.ParseFileWithEnvMapping("nfpm.yaml", os.Getenv)
	if err != nil {
		return err
	}
	info, err := config.Get("deb")
	if err != nil {
		return err
	}
	info = nfpm.WithDefaults(info)
	if err := nfpm.PrepareForPackager(info, "deb"); err != nil {
		return err
	}
	f, err := os.Create(args[0])
	if err != nil {
		return err
	}
	if err := deb.Default.Package(info, f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
