"""What a person is advised when a request fails, as it stands on the screen."""

NO_GRANT = """\
The role of this key has no grant on the table. If it is a publishable (anon)
key, use a secret key instead. A secret key needs grants, too: since 2026,
Supabase grants nothing on new tables. Run this in the project's SQL editor:
    grant usage on schema public to service_role;
    grant select on public.scraped_videos to service_role;
If the message names another table (scraped_videos may be a view of it), grant
select on that one, too.
"""

SLOW_QUERY = """\
The database needs longer for a page than its time limit. Check that the column
id has an index (a primary key has one), or give the key's role more time, in
the project's SQL editor:
    alter role service_role set statement_timeout = '25s';
    notify pgrst, 'reload config';
Keep the limit below 30 s, after which this script gives up.
"""

SERVER_DOWN = """\
Something answered, so the URL and the connection work. The project may be
paused (restore it in the dashboard, https://supabase.com/dashboard), restarting
or overloaded, or Supabase may have an outage (see https://status.supabase.com).
"""

WRONG_KEY = """\
This key doesn't belong to the project at SUPABASE_URL, or it has expired or
been revoked. (Legacy keys stop working at the end of 2026.) Copy a secret key
from that project's dashboard: Project Settings > API Keys. A setting in the
environment wins over .env.local and .env.
"""

WRONG_KEY_OR_LOCAL = """\
This key doesn't belong to the project at SUPABASE_URL, or it has expired or
been revoked. (Legacy keys stop working at the end of 2026.) Copy a secret key
from that project's dashboard: Project Settings > API Keys. A setting in the
environment wins over .env.local and .env. A local stack may want its legacy
service_role key, as SUPABASE_SERVICE_ROLE_KEY, in place of SUPABASE_SECRET_KEY.
"""

REDIRECTED = """\
SUPABASE_URL is not the project's own address, which looks like
https://abcdefgh.supabase.co. Copy it from the project's dashboard (Connect, at
the top).
"""

RESTRICTED = """\
Supabase restricts this organization's projects: a quota is exceeded, or a bill
is due. See Usage and Billing of the organization in the dashboard
(https://supabase.com/dashboard).
"""

PROXY_LOGIN = """\
A proxy wants a login. Put it into HTTP_PROXY or HTTPS_PROXY in the environment
(http://user:password@host:port), or name the host of SUPABASE_URL in NO_PROXY,
to reach it without the proxy.
"""

TOO_MANY_REQUESTS = """\
The project gets too many requests at once. Run this script again in a few
minutes.
"""

CHECK_TABLE = """\
Check that SUPABASE_URL is the URL of a Supabase project, that the table
scraped_videos is in its schema public, with the columns in README.md (the id is
a uuid or text), and that the Data API exposes this schema (Project Settings >
Data API). If you host Supabase yourself, a new table shows only after this, in
SQL:
    notify pgrst, 'reload schema';
"""

UNTRUSTED_CERTIFICATE = """\
The server's certificate is not trusted. If a proxy or a self-hosted Supabase
has one of its own, set SSL_CERT_FILE in the environment to a PEM file with the
certificate of the authority that signed it. If that is set already, the
certificate may lack what Python 3.13 and later ask for ("Missing Authority Key
Identifier"): make a new one, or use Python 3.12. If the certificate is
"expired" or "not yet valid", check the clock of this machine, too; if it is for
another host, check SUPABASE_URL.
"""

SLOW_REPLY = """\
The connection works, but the database or the way to it is too slow;
https://status.supabase.com shows outages. Check that the column id has an index
(a primary key has one), or give the key's role more time, in the project's SQL
editor:
    alter role service_role set statement_timeout = '25s';
    notify pgrst, 'reload config';
Keep the limit below 30 s, after which this script gives up.
"""

NO_REPLY = """\
Is SUPABASE_URL right, and is this machine online? If it needs a proxy, check
HTTPS_PROXY and the other *_PROXY variables in the environment. A paused project
can be restored in the dashboard (https://supabase.com/dashboard).
"""

NOT_SUPABASE = """\
What answers at SUPABASE_URL is not a Supabase project. Is it the login page of
a network or a proxy? Check SUPABASE_URL and this machine's connection.
"""
