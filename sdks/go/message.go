package licentia

import "time"

const connect = "Please connect to the internet once, so that your license can be refreshed."

var invalidMessages = map[Code]string{
	LicenseExpired:     "Your license has ended. Please renew it to continue.",
	TokenExpired:       connect,
	StaleStatus:        connect,
	UnknownKey:         connect,
	KeyNotValid:        connect,
	LicenseRevoked:     revokedMessage,
	KeyRevoked:         revokedMessage,
	WrongDevice:        "This license belongs to another device.",
	NotYetValid:        clockMessage,
	ClockRolledBack:    clockMessage,
	UnsupportedVersion: "This license needs a newer version of the app. Please update the app.",
	WrongAudience:      productMessage,
	WrongIssuer:        productMessage,
}

const (
	revokedMessage = "This license was revoked. Please log in to get your current one, or contact us."
	clockMessage   = "The clock of this device is wrong. Please set it and try again."
	productMessage = "This license is for another product."
	notALicense    = "There is no valid license. Please enter all of it."
)

// Message returns what to show the user, in English; empty while there is nothing to say. Translate
// it by State and Code.
func Message(v Verdict) string {
	switch v.State {
	case Active:
		if !v.Warn {
			return ""
		}
		return "Please connect to the internet or renew your license by " + day(v.ChangesAt) + "."
	case Grace:
		return "Your license has ended. It still works until " + day(v.ChangesAt) +
			". Please renew it."
	case Overdue:
		return overMessage(v, "Everything keeps working")
	case Limited:
		return overMessage(v, "Some features are off")
	}
	if v.Code == UpdateNotCovered {
		return "Your license covers versions until " + day(v.UpdatesUntil) +
			". Use an earlier one or buy the updates."
	}
	if message, isKnown := invalidMessages[v.Code]; isKnown {
		return message
	}
	return notALicense
}

func overMessage(v Verdict, remains string) string {
	if v.Code == TokenExpired {
		return connect + " " + remains + " until then."
	}
	return "Your license has ended. " + remains + ". Please renew it."
}

func day(at time.Time) string {
	return at.UTC().Format("2006-01-02")
}
