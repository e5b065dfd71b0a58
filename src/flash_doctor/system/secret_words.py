"""Words by which a secret is told from what is none: names of keys, names of a model's tokens, words of a sentence."""

from __future__ import annotations

# what makes a key a secret one, as it ends before `key`
_KEYS_TEXT = """
    api access account secret private auth encryption signing signature master storage shared subscription service
    ssh license licence client deploy admin root user consumer application app session project gpg pgp tls ssl rsa
    jwt webhook host function functions write wandb hf hub openai anthropic comet neptune groq mistral cohere aws
    azure gcp google together replicate kaggle databricks modal runpod
"""
KEYS = tuple(_KEYS_TEXT.split())
# what ends in "token" and is one of a model's
_OF_MODELS_TEXT = """
    pad eos bos unk sep cls mask image video audio img vision stop start end special think tool user assistant
    system im decoder forced next prev previous first last per current prompt completion input output generated
    sample batch cached reasoning total max min num n valid seq text new added sub pre extra any each every all
    single bad good boi eoi boa eoa fim suffix prefix middle turn role space word byte unexpected unknown invalid
    illegal trailing expected missing the a an this that of in is
"""
OF_MODELS = frozenset(_OF_MODELS_TEXT.split())
_PROSE_BEFORE_TEXT = """
    unexpected unknown invalid illegal special next previous first last bad missing expected added new each per
    every unrecognized unrecognised trailing stray line a an one no any that of
"""
PROSE_BEFORE = frozenset(_PROSE_BEFORE_TEXT.split())
# what follows a colon in a sentence, or is a value of a setting
_PROSE_TEXT = """
    a an the and or not no yes is was are be been has have had must should can cannot could will would may might
    none null nil true false on off auto unset undefined default required optional invalid expired incorrect
    expected missing failed failure unauthorized unauthorised denied forbidden wrong empty unexpected found
    refused rejected revoked set str string bytes int float bool text number object any redacted hidden masked
    removed omitted unknown unsupported disabled enabled authentication authorization authorised authorized
    permission permissions valid error errors using use used uses with without for from to in of by as at if it
    its this that these those your you please see try enter provide given got when where which while because only
    too already still also does do did file files path option options argument arguments flag field value values
    name basic digest bearer kerberos ldap saml pam prompt interactive anonymous environment variable variables
    limit limits count length type id ids instead
"""
PROSE = frozenset(_PROSE_TEXT.split())
_METAVARS_TEXT = """
    TOKEN KEY PASSWORD PASSWD PASS PWD TEXT STRING STR SECRET VALUE NAME CREDENTIALS AUTH
"""
METAVARS = frozenset(_METAVARS_TEXT.split())
# values that rules and readers need, or that say nothing: everything else in a query may be a key to something
_HARMLESS_TEXT = """
    sha1 sha224 sha256 sha384 sha512 md5 blake2b egg subdirectory version v tag ref branch rev page per_page tab
    raw format type lang download inline line lines rank world_size timeout connect_timeout retries sslmode region
    x-amz-algorithm x-amz-date x-amz-expires x-amz-signedheaders expires size offset limit sort order name package
    python platform arch torch cuda abi sha commit path since
"""
HARMLESS = frozenset(_HARMLESS_TEXT.split())
