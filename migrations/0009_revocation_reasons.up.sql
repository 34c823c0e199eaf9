-- Why a license was revoked. A license that was revoked because nothing is paid for still fetches its
-- successor; one that leaked, or whose key was revoked, does not. Null is not revoked, or revoked
-- before reasons were stored, which counts as leaked.
ALTER TABLE licenses ADD COLUMN revocation_reason TEXT
    CONSTRAINT licenses_revocation_reason_check
        CHECK (revocation_reason IN ('payment', 'operator', 'key'));
