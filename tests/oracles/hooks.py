"""Gives schemathesis credentials that work: a session (some of the operations under test end it), the
license of the same customer, and the admin key that it was given."""

import os
import time
import uuid

import requests
import schemathesis


@schemathesis.auth(refresh_interval=None)
class Session:
    token = None
    license = None

    def get(self, case, context):
        base = case.operation.base_url.rstrip("/")
        if self.token is None or requests.get(f"{base}/api/customers/me", headers=self.headers()).status_code != 200:
            self.token = self.sign_up(base)
        return self.token

    def set(self, case, token, context):
        security = str(case.operation.definition.raw.get("security", ""))
        credentials = {"license": self.license, "admin_key": os.environ["ADMIN_KEY"], "session": token}
        for name, credential in credentials.items():
            if name in security:
                case.headers = {**(case.headers or {}), "Authorization": f"Bearer {credential}"}

    def headers(self):
        return {"Authorization": f"Bearer {self.token}"}

    def sign_up(self, base):
        while True:
            request = {"email": f"{uuid.uuid4()}@example.com", "password": "SecurePass123"}
            # Each from another address: one address may sign up ten times, then once a minute.
            # Not by `random`, which is seeded here, so that addresses would repeat.
            low, middle, high = os.urandom(3)
            address = {"X-Forwarded-For": f"198.{18 + high % 2}.{middle}.{low}"}
            answer = requests.post(f"{base}/api/customers/signup", json=request, headers=address)
            if answer.status_code == 201:
                self.license = answer.json()["license"]["token"]
                return answer.json()["access_token"]
            assert answer.status_code == 429, answer.text
            time.sleep(int(answer.headers["Retry-After"]))
