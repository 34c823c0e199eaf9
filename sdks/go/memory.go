package licentia

import (
	"encoding/json"
	"sort"
)

const (
	maxMemoryBytes = 256 * 1024
	memoryVersion  = 1

	// clockToleranceSeconds is how far a clock may go back before it counts as rolled back.
	clockToleranceSeconds = 3600
	// healingSeconds is how close to the device's clock a newer license must be to prove that the
	// clock is right.
	healingSeconds = 86_400
)

// memory is what a device has seen, so that a clock or a list cannot be set back unseen. Only
// documents that were verified change it.
type memory struct {
	Version int                       `json:"v"`
	Time    int64                     `json:"time"`
	Signed  int64                     `json:"signed"`
	KeysSeq int64                     `json:"keys_seq"`
	Seq     map[string]int64          `json:"seq"`
	Lists   map[string]rememberedList `json:"lists"`
}

// rememberedList has the iat of a status list, and the customer's indexes that are revoked in it.
type rememberedList struct {
	IssuedAt int64   `json:"iat"`
	Revoked  []int64 `json:"revoked"`
}

func newMemory() memory {
	return memory{
		Version: memoryVersion, Seq: map[string]int64{}, Lists: map[string]rememberedList{},
	}
}

// readMemory returns the memory of a text. An unreadable text is treated as lost: empty memory.
func readMemory(text string) memory {
	if len(text) > maxMemoryBytes {
		return newMemory()
	}
	members, err := readObject([]byte(text))
	if err != nil {
		return newMemory()
	}
	reader := claimReader{isValid: true}
	reader.check(reader.number(members, "v") == memoryVersion)
	read := newMemory()
	read.Time = reader.time(members, "time")
	read.Signed = reader.time(members, "signed")
	read.KeysSeq = reader.number(members, "keys_seq")
	seq := reader.object(members, "seq")
	for sub := range seq {
		read.Seq[sub] = reader.number(seq, sub)
	}
	lists := reader.object(members, "lists")
	for uri := range lists {
		list := reader.object(lists, uri)
		revoked, isArray := list["revoked"].([]any)
		reader.check(isArray)
		indexes := map[int64]bool{}
		for _, element := range revoked {
			index, isNumber := wholeNumber(element)
			reader.check(isNumber)
			indexes[index] = true
		}
		read.Lists[uri] = rememberedList{reader.time(list, "iat"), sorted(indexes)}
	}
	if !reader.isValid {
		return newMemory()
	}
	return read
}

// text returns the memory as JSON.
func (m memory) text() string {
	text, err := json.Marshal(m)
	if err != nil {
		panic(err) // numbers and strings can always be encoded
	}
	return string(text)
}

// earliestPlausibleTime returns the time before which the clock counts as rolled back.
func (m memory) earliestPlausibleTime() int64 {
	return later(m.Time, m.Signed) - clockToleranceSeconds
}

// heal forgets a time in the future if a newer license proves that the clock is right now.
func (m *memory) heal(c *claims, now int64) {
	isRolledBack := now < m.earliestPlausibleTime()
	distance := c.issuedAt - now
	isClose := -healingSeconds <= distance && distance <= healingSeconds
	if isRolledBack && c.issuedAt > m.Signed && isClose {
		m.Time = now
	}
}

// isRevoked reports whether a list that was seen before revoked this index.
func (m memory) isRevoked(reference statusReference) bool {
	for _, index := range m.Lists[reference.uri].Revoked {
		if index == reference.index {
			return true
		}
	}
	return false
}

func (m *memory) addBundle(b *bundle) {
	m.KeysSeq = later(m.KeysSeq, b.seq)
	m.Signed = later(m.Signed, b.issuedAt)
}

func (m *memory) addLicense(c *claims) {
	m.Signed = later(m.Signed, c.issuedAt)
	m.Seq[c.customerID] = later(m.Seq[c.customerID], c.seq)
}

// addList remembers a list that is not older than the one before. It decides about each remembered
// index that it has: one whose bit is 0 again is dropped.
func (m *memory) addList(list *statusList, reference statusReference) {
	m.Signed = later(m.Signed, list.issuedAt)
	revoked := map[int64]bool{}
	for _, index := range m.Lists[reference.uri].Revoked {
		if list.isRevoked(index) || !list.has(index) {
			revoked[index] = true
		}
	}
	if list.isRevoked(reference.index) {
		revoked[reference.index] = true
	}
	m.Lists[reference.uri] = rememberedList{list.issuedAt, sorted(revoked)}
}

func sorted(indexes map[int64]bool) []int64 {
	list := make([]int64, 0, len(indexes))
	for index := range indexes {
		list = append(list, index)
	}
	sort.Slice(list, func(i, j int) bool { return list[i] < list[j] })
	return list
}

func later(a, b int64) int64 {
	if a > b {
		return a
	}
	return b
}
