module.exports = require("./nap");
