package httpapi

import (
	"strconv"
	"strings"

	"github.com/marque-id/marque/server/internal/api"
	"github.com/marque-id/marque/server/internal/directory"
)

// noVersion is what no resource has: an If-Match that cannot match.
const noVersion = -1

// etagOf is the strong entity tag of a version (RFC 9110 section 8.8.3).
func etagOf(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// versionOf reads If-Match: nil when any version will do. A weak or foreign tag
// is no error, it just never matches (RFC 9110 section 13.1.1).
func versionOf(ifMatch *api.IfMatch) *int64 {
	if ifMatch == nil || *ifMatch == "*" {
		return nil
	}
	version, err := strconv.ParseInt(strings.Trim(*ifMatch, `"`), 10, 64)
	if err != nil || etagOf(version) != *ifMatch {
		version = noVersion
	}
	return &version
}

// existingVersionOf is versionOf for what makes a resource that is not there: "*"
// is met by what is there alone (RFC 9110 section 13.1.1).
func existingVersionOf(ifMatch *api.IfMatch) *int64 {
	if ifMatch != nil && *ifMatch == "*" {
		existing := directory.AnyVersion
		return &existing
	}
	return versionOf(ifMatch)
}

// noneMatch reports whether If-None-Match lets the whole answer be sent; the
// comparison is the weak one (RFC 9110 section 13.1.2).
func noneMatch(ifNoneMatch, etag string) bool {
	for tag := range strings.SplitSeq(ifNoneMatch, ",") {
		tag = strings.TrimSpace(tag)
		if tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
			return false
		}
	}
	return true
}
