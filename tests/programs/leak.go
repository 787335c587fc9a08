// Allocates in a function that a stack must name (the last argument, MiB), then sleeps.
package main

import (
	"fmt"
	"os"
	"strconv"
)

const page = 4096

//go:noinline
func growInGo(memory []byte) {
	for at := 0; at < len(memory); at += page {
		memory[at] = 1
	}
}

//go:noinline
func outerInGo(memory []byte) int {
	growInGo(memory)
	return len(memory)
}

func main() {
	mib, err := strconv.Atoi(os.Args[len(os.Args)-1])
	if err != nil {
		panic(err)
	}
	memory := make([]byte, mib<<20)
	n := outerInGo(memory)
	fmt.Println("ready")
	for memory[0] > 0 && n > 0 {
		select {}
	}
}
