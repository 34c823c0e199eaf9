// Command licentia tests this verifier: "licentia vectors FOLDER" runs every vector file of a
// folder, and "licentia verdict" reads cases as JSON lines and prints verdicts as JSON lines.
package main

import (
	"fmt"
	"os"

	licentia "licentia.example/go"
)

func main() {
	switch {
	case len(os.Args) == 2 && os.Args[1] == "verdict":
		if err := licentia.RunLines(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case len(os.Args) == 3 && os.Args[1] == "vectors":
		count, err := licentia.RunVectors(os.Args[2])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(count, "cases passed")
	default:
		fmt.Fprintln(os.Stderr, "usage: licentia verdict | licentia vectors FOLDER")
		os.Exit(2)
	}
}
