"""Uses the package licentia_client, which openapi-python-client generated: generated_client.py URL."""

import sys

import jwt
from licentia_client import AuthenticatedClient, Client
from licentia_client.api.customers import log_in, sign_up
from licentia_client.api.keys import get_jwks
from licentia_client.api.licenses import get_current_license, list_licenses, verify_license
from licentia_client.models import License, LicenseStatus, Licenses, LicenseVerdict, LoggedIn, Login
from licentia_client.models import Problem, SignedUp, SignUp, VerifyLicense

base_url = sys.argv[1]
visitor = Client(base_url=base_url)

account = SignUp(email="grace@example.com", password="SecurePass123", name="Grace Hopper")
made = sign_up.sync(client=visitor, body=account)
assert isinstance(made, SignedUp), made
print("signed up:", made.customer.name)
refused = sign_up.sync(client=visitor, body=account)
assert isinstance(refused, Problem), refused
print("refused:", refused.status, refused.code)

session = log_in.sync(client=visitor, body=Login(email=account.email, password=account.password))
assert isinstance(session, LoggedIn), session
customer = AuthenticatedClient(base_url=base_url, token=session.access_token)
license = get_current_license.sync(client=customer)
assert isinstance(license, License) and license.status == LicenseStatus.ACTIVE, license
listed = list_licenses.sync(client=customer)
assert isinstance(listed, Licenses) and listed.licenses == [license], listed

keys = jwt.PyJWKSet.from_dict(get_jwks.sync(client=visitor).to_dict())
key = keys[jwt.get_unverified_header(license.token)["kid"]]
claims = jwt.decode(license.token, key, algorithms=["EdDSA"], audience="acme-app")
assert claims["jti"] == license.license_id, claims
print("verified:", claims["plan"])

verdict = verify_license.sync(client=visitor, body=VerifyLicense(token=license.token))
assert isinstance(verdict, LicenseVerdict) and verdict.valid, verdict
refused = get_current_license.sync(client=AuthenticatedClient(base_url=base_url, token="sess_x"))
assert isinstance(refused, Problem), refused
print("refused:", refused.status, refused.code)
