package file_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"sotto/e2ee/file"
)

func Example() {
	var stored bytes.Buffer // at the service
	info, err := file.Encrypt(&stored, strings.NewReader("minutes of the meeting\n"))
	if err != nil {
		panic(err)
	}
	fmt.Println(info.Size, int64(stored.Len()) == file.SealedSize(info.Size))
	// Somebody who has info from an application message reads it.
	if err := file.Decrypt(os.Stdout, &stored, info); err != nil {
		panic(err)
	}
	// Output:
	// 23 true
	// minutes of the meeting
}
