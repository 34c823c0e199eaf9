package licentia

import (
	"encoding/json"
	"os"
	"path/filepath"
)

const (
	licenseFileName = "license.json"
	memoryFileName  = "memory.json"
)

// stored is what the folder contains. memory.json has the memory, and with it the bundle and the
// list that the memory refers to. They are replaced together. So neither a crash nor another
// process can leave a memory that refuses the only bundle that there is.
type stored struct {
	license, memoryFile string
	// memory is the memory alone.
	memory string
	companions
}

// token returns the license token; nothing if there is none.
func (s stored) token() string {
	return readLicenseText(s.license).license
}

func (c *Client) load() stored {
	// The license first would be older than the memory, if another process stores both in between.
	s := stored{memoryFile: c.read(memoryFileName)}
	s.license = c.read(licenseFileName)
	var members map[string]json.RawMessage
	if json.Unmarshal([]byte(s.memoryFile), &members) != nil {
		return s
	}
	_ = json.Unmarshal(members["keys"], &s.keys)
	_ = json.Unmarshal(members["status"], &s.status)
	delete(members, "keys")
	delete(members, "status")
	s.memory = marshal(members)
	return s
}

func (c *Client) saveLicense(s stored, e examination) error {
	content := string(e.licenseFile())
	if content == s.license {
		return nil
	}
	return c.write(licenseFileName, content)
}

// saveMemory stores the memory. A bundle and a list are kept until others count.
func (c *Client) saveMemory(s stored, e examination) error {
	if e.bundle != nil {
		s.keys = e.bundle.text
	}
	if e.list != nil {
		s.status = e.list.text
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(e.memory), &members); err != nil {
		return err
	}
	if s.keys != "" {
		members["keys"] = json.RawMessage(marshal(s.keys))
	}
	if s.status != "" {
		members["status"] = json.RawMessage(marshal(s.status))
	}
	content := marshal(members)
	if content == s.memoryFile {
		return nil
	}
	return c.write(memoryFileName, content)
}

func marshal(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // texts and JSON can always be encoded
	}
	return string(text)
}

// read returns the content of a file; nothing if it cannot be read or is far too large.
func (c *Client) read(name string) string {
	path := filepath.Join(c.folder, name)
	info, err := os.Stat(path)
	if err != nil || info.Size() > 2*maxLicenseFileBytes {
		return ""
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(content)
}

// write replaces a file. After a crash it has either the old or the new content.
func (c *Client) write(name, content string) (err error) {
	if err := os.MkdirAll(c.folder, 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(c.folder, "."+name+"-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name())
		}
	}()
	if _, err = file.WriteString(content); err == nil {
		err = file.Sync()
	}
	if closeError := file.Close(); err == nil {
		err = closeError
	}
	if err != nil {
		return err
	}
	return c.rename(file.Name(), filepath.Join(c.folder, name))
}
