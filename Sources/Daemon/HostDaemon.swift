import Crypto
import GRDB
import Logging
